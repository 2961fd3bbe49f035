//! What a put leaves in the files, byte by byte.

use super::*;
use crate::PutMessageStatus;

/// One field per line; blanks do not count.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .lines()
        .flat_map(|line| line.split('|').next().unwrap_or("").bytes())
        .filter(u8::is_ascii_hexdigit)
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[tokio::test]
async fn a_record_has_javas_layout() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut first = message(b"hello");
    first.queue_id = 3;
    first.flag = 7;
    first.properties = "TAGS\u{1}a".to_owned();
    first.reconsume_times = 2;
    first.prepared_transaction_offset = 9;
    store.put_message(&first).await;
    store.put_message(&first).await;
    let expected = hex("
        00000067         | total size 103
        DAA320A7         | magic
        3610A686         | CRC-32 of 'hello', 31 bits
        00000003         | queue id
        00000007         | flag
        0000000000000001 | queue offset
        0000000000000067 | physical offset
        00000000         | sys flag
        0000017487 6E 80 00 | born 1600000000000
        0A000001 000004D2   | born host
        0000018BCFE56800 | stored 1700000000000
        0A000002 00002A9F   | store host
        00000002         | reconsume times
        0000000000000009 | prepared transaction offset
        00000005 68656C6C6F | body
        01 54            | topic
        0006 54414753 01 61 | properties
    ");
    let log = machine.disk.read(&machine.log_file(0)).unwrap();
    assert_eq!(log[103..206], expected);
    assert!(log[206..].iter().all(|byte| *byte == 0));
    until_dispatched(&store).await;
    let queue = machine.disk.read(&machine.queue_file("T", 3, 0)).unwrap();
    assert_eq!(queue[20..40], hex("0000000000000067 00000067 0000000000000061"));
    assert_eq!(queue.len(), QUEUE_FILE);
}

#[tokio::test]
async fn a_record_between_ipv6_hosts_is_longer() {
    let machine = Machine::new();
    let store = machine.open().await;
    let mut message = message(b"x");
    message.born_host = "[::1]:5".parse().unwrap();
    message.store_host = "[2001:db8::1]:10911".parse().unwrap();
    let stored = store.put_message(&message).await.append.unwrap();
    assert_eq!(u64::from(stored.wrote_bytes), record_len(1) + 24);
    let record = store.look_message_by_offset(0).unwrap();
    let record = decode_record(&record).unwrap();
    assert_eq!(record.sys_flag(), 0x30);
    assert_eq!((record.born_host(), record.store_host()), (message.born_host, message.store_host));
    assert_eq!(record.store_timestamp(), 1_700_000_000_000);
    put(&store, b"y").await;
    machine.kill(store).await;
    let store = machine.open().await;
    let found = store.get_message("T", 0, 0, 32, &MessageFilter::All);
    let hosts: Vec<_> =
        found.messages.iter().map(|record| decode_record(record).unwrap().store_host()).collect();
    assert_eq!(hosts, [message.store_host, self::message(b"").store_host]);
}

/// A broker of 5.x leaves records of its second version behind, of topics of up to 32767 bytes.
#[tokio::test]
async fn records_of_version_2_are_read_and_never_written() {
    let machine = Machine::new();
    let store = machine.open().await;
    put(&store, &numbered(0)).await;
    put(&store, &numbered(1)).await;
    let end = store.commit_log().max_offset() as usize;
    store.shutdown().await;
    let long_topic = "t".repeat(200);
    machine.edit(&machine.log_file(0), |log| {
        let mut record = log[end / 2..end].to_vec();
        let topic_length = record.len() - 2 - 1 - 1;
        record.splice(topic_length..topic_length + 2, [0, 200]);
        record.splice(topic_length + 2..topic_length + 2, long_topic.bytes());
        let size = record.len() as i32;
        record[0..4].copy_from_slice(&size.to_be_bytes());
        record[4..8].copy_from_slice(&hex("DAA320AB"));
        record[20..28].copy_from_slice(&0_u64.to_be_bytes());
        record[28..36].copy_from_slice(&(end as u64).to_be_bytes());
        log[end..end + record.len()].copy_from_slice(&record);
    });
    machine.disk.remove(&machine.root().join("durable")).unwrap();
    machine.disk.write(&machine.root().join("abort"), b"").unwrap();
    let store = machine.open().await;
    let found = store.get_message(&long_topic, 0, 0, 32, &MessageFilter::All);
    assert_eq!(found.messages.len(), 1);
    let record = decode_record(&found.messages[0]).unwrap();
    assert_eq!((record.version(), record.topic().as_ref()), (2, &*long_topic));
    assert_eq!(record.body(), numbered(1));
    assert!(store.look_message_by_offset(end as u64).is_some());
    assert_eq!(store.max_offset_in_queue("T", 0), 2);

    let more = MessageInner { topic: long_topic, ..message(b"x") };
    assert_eq!(store.put_message(&more).await.status, PutMessageStatus::MessageIllegal);
    let next = put(&store, b"x").await.append.unwrap();
    let record = store.look_message_by_offset(next.phy_offset).unwrap();
    assert_eq!(decode_record(&record).unwrap().version(), 1);
    machine.kill(store).await;
    assert_eq!(machine.open().await.commit_log().max_offset(), next.end_offset());
}

#[tokio::test]
async fn a_file_ends_with_a_blank_and_the_record_goes_into_the_next() {
    let machine = Machine::new();
    let store = machine.open().await;
    let body = vec![1; 2000];
    let len = record_len(2000);
    for _ in 0..4 {
        put(&store, &body).await;
    }
    let blank_at = 3 * len as usize;
    let log = machine.disk.read(&machine.log_file(0)).unwrap();
    let room = (LOG_FILE - blank_at) as u32;
    assert_eq!(log[blank_at..blank_at + 4], room.to_be_bytes());
    assert_eq!(log[blank_at + 4..blank_at + 8], hex("CBD43194"));
    assert!(log[blank_at + 8..].iter().all(|byte| *byte == 0));
    assert_eq!(store.commit_log().max_offset(), LOG_FILE as u64 + len);
    assert!(store.look_message_by_offset(LOG_FILE as u64).is_some());
    until_dispatched(&store).await;
    assert_eq!(store.max_offset_in_queue("T", 0), 4);
}

#[tokio::test]
async fn a_record_and_a_blank_may_fill_a_file_exactly() {
    let machine = Machine::new();
    let store = machine.open().await;
    let fits = LOG_FILE - 8 - record_len(0) as usize;
    put(&store, &vec![1; fits]).await;
    assert_eq!(store.commit_log().max_offset(), LOG_FILE as u64 - 8);
    put(&store, b"x").await;
    assert_eq!(store.commit_log().max_offset(), LOG_FILE as u64 + record_len(1));
}

#[tokio::test]
async fn the_marker_files_are_javas() {
    let machine = Machine::new();
    let store = machine.open().await;
    let root = machine.root();
    assert_eq!(machine.disk.read(&root.join("lock")).unwrap(), b"lock");
    assert_eq!(machine.disk.read(&root.join("abort")).unwrap(), b"");
    machine.clock.advance(5_000);
    put(&store, b"x").await;
    until_dispatched(&store).await;
    store.shutdown().await;
    assert!(machine.disk.stat(&root.join("abort")).is_err());
    let checkpoint = machine.disk.read(&root.join("checkpoint")).unwrap();
    assert_eq!(checkpoint.len(), 4096);
    let stored = 1_700_000_005_000_u64.to_be_bytes();
    assert_eq!(checkpoint[..24], [stored, stored, [0; 8]].concat());
}
