//! Access rights of files, which are the operating system's alone: the simulated disk has none.
#![expect(clippy::disallowed_methods, reason = "access rights are not the seam's")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use mq_env::Env;
use mq_env::disk::replaced_file::{backup_of, replace_file};

#[tokio::test]
async fn a_file_that_is_replaced_keeps_its_access_rights() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain_acl.yml");
    let disk = Env::os().disk;
    disk.write(&path, b"old secrets").unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    replace_file(&*disk, &path, |_| true, b"new secrets").await.unwrap();
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&backup_of(&path))), (0o640, 0o640));
    assert_eq!(disk.read(&path).unwrap(), b"new secrets");
}
