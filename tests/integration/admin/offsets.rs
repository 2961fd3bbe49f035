//! How far groups are, and where they are sent.

use super::desk::{at_desk, consumer, words};
use crate::broker::cluster::{new_instance, seconds};

#[test]
fn a_group_is_followed_and_reset() {
    at_desk(async |cluster, master, desk| {
        desk.prints(&format!("updateTopic -b {} -t T -r 1 -w 1", master.addr)).await;
        for _ in 0..5 {
            desk.prints("sendMessage -t T -p x").await;
        }
        let (_machine, instance) = new_instance(&cluster.world, "member");
        let (member, given) = consumer(&instance, "G", "T").await;
        seconds(30).await;
        assert_eq!(given.lock().unwrap().len(), 5);

        let text = desk.prints("consumerProgress -g G").await;
        let queue = |text: &str| {
            let rows = words(text);
            let row = rows.iter().find(|row| row[..1] == ["T"]).unwrap();
            row[2..6].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(queue(&text), ["0", "5", "5", "0"]);
        assert!(text.ends_with("\nDiff Total: 0\n"), "{text}");
        assert!(words(&desk.prints("consumerProgress").await).iter().any(|row| row[0] == "G"));

        // Who is online goes there by itself.
        let text = desk.prints("resetOffsetByTime -g G -t T -s 0").await;
        assert!(text.starts_with("rollback consumer offset by specified group[G], topic[T], "));
        assert_eq!(words(&text)[2], ["a", "0", "0"]);
        seconds(30).await;
        assert_eq!(given.lock().unwrap().len(), 10);
        let status = desk.prints("getConsumerStatus -g G -t T").await;
        assert_eq!(words(&status)[2][1..], ["a", "0", "5"], "{status}");
        let text = desk.prints("skipAccumulatedMessage -g G -t T").await;
        assert_eq!(words(&text)[1], ["a", "0", "5"]);

        member.shutdown().await;
        instance.shutdown().await;
        seconds(2).await;
        // Who is not is sent there by the tool.
        let text = desk.prints("resetOffsetByTime -g G -t T -s 0").await;
        assert!(text.starts_with("rollback consumer offset by specified consumerGroup[G], "));
        assert_eq!(words(&text)[2], ["a", "0", "5", "5", "0", "0"]);
        assert_eq!(queue(&desk.prints("consumerProgress -g G -t T").await), ["0", "5", "0", "5"]);
        // Without force nobody is sent forwards.
        let text = desk.prints("resetOffsetByTimeOld -g G -t T -s now -f false").await;
        assert_eq!(words(&text)[2], ["a", "0", "5", "0", "5", "0"]);
        let text = desk.prints("skipAccumulatedMessage -g G -t T").await;
        assert_eq!(words(&text)[1], ["a", "0", "5", "0", "5", "5"]);
        assert_eq!(queue(&desk.prints("consumerProgress -g G").await), ["0", "5", "5", "0"]);
    });
}

#[test]
fn a_monitor_tells_of_what_waits() {
    at_desk(async |cluster, master, desk| {
        desk.prints(&format!("updateTopic -b {} -t T -r 1 -w 1", master.addr)).await;
        desk.prints("sendMessage -t T -p x").await;
        let (_machine, instance) = new_instance(&cluster.world, "member");
        let (member, _) = consumer(&instance, "G", "T").await;
        seconds(30).await;
        member.shutdown().await;
        for _ in 0..3 {
            desk.prints("sendMessage -t T -p x").await;
        }
        let time = std::time::Duration::from_secs(5);
        let text = desk.watches("startMonitoring -i 2 -l 3", time).await;
        let notice = "[NOTIFY] consumerGroup=G, topic=T, undoneMsgsTotal=3, undoneMsgsSingleMQ=3\n";
        assert_eq!(text, notice.repeat(3));
        assert_eq!(desk.watches("startMonitoring -l 4", time).await, "");
    });
}
