//! Signatures of requests against those of Java clients.

use mq_protocol::acl::{SIGNATURE, signature};

use super::fixture::rows;

#[test]
fn signatures_are_those_of_java() {
    let mut compared = 0;
    for row in rows().into_iter().filter(|row| row.scenario == "java-acl" && !row.is_response()) {
        let request = row.command();
        let Some(recorded) = request.ext_fields.get(SIGNATURE) else { continue };
        let ours = signature(&request.ext_fields, &request.body, "12345678");
        assert_eq!(ours, recorded, "{}", row.label());
        compared += 1;
    }
    assert_eq!(compared, 84);
}
