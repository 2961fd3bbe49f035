//! Messages: sent, printed, found.

use std::time::Duration;

use super::desk::{Desk, at_desk, words};
use crate::broker::cluster::{Broker, seconds};

/// Tells a story of a topic T of two queues.
fn at_topic(story: impl AsyncFnOnce(Broker, Desk)) {
    at_desk(async |_, master, desk| {
        desk.prints(&format!("updateTopic -b {} -t T -r 2 -w 2", master.addr)).await;
        story(master, desk).await;
    });
}

#[test]
fn messages_are_sent_and_printed() {
    at_topic(async |_, desk| {
        let text = desk.prints("sendMessage -t T -p hello -k k1 -c TagA -b a -i 1").await;
        let rows = words(&text);
        assert_eq!(rows[1][..3], ["a", "1", "SEND_OK"]);
        let id = rows[1][3].to_owned();
        desk.prints("sendMessage -t T -p world -c TagB -b a -i 1").await;
        desk.prints("sendMessage -t T -p again -b a -i 0").await;

        let text = desk.prints("printMsg -t T").await;
        assert_eq!(text.matches("MSGID: ").count(), 3, "{text}");
        assert!(text.contains(&format!("MSGID: {id} MessageExt [brokerName=a, queueId=1, ")));
        assert!(text.contains("] BODY: hello\n") && text.contains("MessageQueue [topic=T, "));
        let text = desk.prints("printMsg -t T -d false -s TagB").await;
        assert_eq!(text.matches("MSGID: ").count(), 1, "{text}");
        assert!(text.contains("BODY: NOT PRINT BODY"), "{text}");
        let text = desk.prints("printMsgByQueue -t T -a a -i 1 -p true -d true -f true").await;
        assert!(text.contains("BODY: world\nTag: TagA"), "{text}");
        assert_eq!(desk.prints("printMsgByQueue -t T -a a -i 0 -b 99999999999999").await, "");
        let text = desk.prints("consumeMessage -t T -b a -i 1 -o 0 -c 1").await;
        assert!(text.starts_with("The oldler 1 message will be provided\nConsume ok\nMSGID: "));
        assert_eq!(text.matches("MSGID: ").count(), 1, "{text}");
        let text = desk.prints("consumeMessage -t T").await;
        assert_eq!(text.matches("MSGID: ").count(), 3, "{text}");
        let text = desk.prints("consumeMessage -t T -b a -i 1 -o 9").await;
        assert!(text.ends_with("queueId=1] no matched msg, offset=9\n"), "{text}");
    });
}

#[test]
fn messages_are_found_by_their_keys() {
    at_topic(async |master, desk| {
        let sent = desk.prints("sendMessage -t T -p hello -k k1 -b a -i 1").await;
        let id = words(&sent)[1][3].to_owned();
        seconds(2).await;

        let text = desk.prints("queryMsgByKey -t T -k k1").await;
        assert_eq!(words(&text)[1], [id.as_str(), "1", "0"]);
        let (_, error) = desk.fails("queryMsgByKey -t T -k k2").await;
        assert_eq!(error.to_string(), "no message of the topic T has the key k2");
        let (_, error) = desk.fails("queryMsgTraceById -i X -t T").await;
        assert_eq!(error.to_string(), "the topic T has no trace of the message X");

        // The id of a place, taken from what is printed.
        let printed = desk.prints("printMsg -t T").await;
        let place = printed.split("msgId=").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let text = desk.prints(&format!("decodeMessageId -i {place}")).await;
        let (ip, port) = master.addr.split_once(':').unwrap();
        assert!(text.starts_with(&format!("ip={ip}\nport={port}\noffset=")), "{text}");
        let text = desk.prints(&format!("queryMsgById -i {place} -s true")).await;
        assert!(text.starts_with(&format!("prepare resend msg. originalMsgId={place}\n")));
        assert!(text.contains("SendResult [sendStatus=SEND_OK, "), "{text}");
        let printed = desk.prints("printMsg -t T").await;
        assert_eq!(printed.matches("BODY: hello\n").count(), 2, "{printed}");
        // Another id, or the second one would be taken for the first.
        assert_eq!(printed.matches(&format!("MSGID: {id} ")).count(), 1, "{printed}");
    });
}

#[test]
fn times_of_sends_are_measured() {
    at_topic(async |_, desk| {
        let text = desk.prints("checkMsgSendRT -t T -a 3 -s 64").await;
        let rows = words(&text);
        assert_eq!(rows[1..4].iter().map(|row| row[1]).collect::<Vec<_>>(), ["0", "1", "0"]);
        assert!(rows[4].starts_with(&["Avg", "RT:"]), "{text}");
        let text = desk.prints("sendMsgStatus -b a -s 64 -c 2").await;
        assert_eq!(text.matches("ms, SendResult=SendResult [sendStatus=SEND_OK, ").count(), 2);
        let text = desk.watches("clusterRT -a 2 -s 64 -i 1", Duration::from_secs(4)).await;
        let rows = words(&text);
        assert!(rows.len() > 3, "{text}");
        assert_eq!(
            (rows[2][..2].to_vec(), &rows[2][3..]),
            (vec!["DefaultCluster", "a"], &["2", "0"][..])
        );
        let line =
            desk.watches("clusterRT -a 2 -i 1 -p true -m room", Duration::from_secs(1)).await;
        assert!(line.contains("|room|DefaultCluster|a|"), "{line}");
    });
}
