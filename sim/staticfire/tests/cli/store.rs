//! `store`: what it prints, and its exit codes.
#![expect(clippy::disallowed_methods, reason = "the command itself, and files of the tests")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;

use super::*;

/// A store of 60 messages, closed in order.
fn a_store(root: &Path) {
    a_store_with(root, None);
}

/// The same, its log at `log`.
fn a_store_with(root: &Path, log: Option<&Path>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut config = mq_store::config::StoreConfig::at(root).on_any_disk();
        config.store_path_commit_log = log.map(Path::to_path_buf);
        config.mapped_file_size_commit_log = 8 << 10;
        config.mapped_file_size_consume_queue = 2_000;
        (config.max_hash_slot_num, config.max_index_num) = (100, 400);
        let store = mq_store::MessageStore::open(mq_env::Env::os(), config.into()).await;
        let store = store.expect("a store");
        for number in 0..60 {
            let message = mq_store::MessageInner {
                topic: "T".to_owned(),
                queue_id: number % 2,
                flag: 0,
                sys_flag: 0,
                body: vec![7; 200].into(),
                properties: format!("KEYS\u{1}k{number}"),
                born_timestamp_ms: 1,
                born_host: ([127, 0, 0, 1], 1000).into(),
                store_host: ([127, 0, 0, 1], 10_911).into(),
                reconsume_times: 0,
                prepared_transaction_offset: 0,
                wait_store_ok: true,
            };
            store.put_message(&message).await;
        }
        store.shutdown().await;
    });
}

#[test]
fn a_sound_store_is_dumped_verified_and_recovered() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, out, copy) = (path("store"), path("out"), path("copy"));
    a_store(Path::new(&store));

    let listing = check(&["store", "dump", &store], 0, "");
    assert_eq!(listing.matches("  keys k").count(), 60, "{listing}");
    assert!(listing.contains("\n           0           30  T/1\n"), "{listing}");
    assert_eq!(check(&["store", "dump", &store, "--out", &out], 0, ""), "");
    assert_eq!(read(&format!("{out}/commitlog.jsonl")).matches("\"keys\":").count(), 0);
    assert_eq!(read(&format!("{out}/commitlog.jsonl")).matches("\"topic\":\"T\"").count(), 60);
    assert_eq!(read(&format!("{out}/consumequeue.jsonl")).lines().count(), 2);
    assert_eq!(read(&format!("{out}/index.jsonl")).lines().count(), 1);
    let counts = "\"entries\": 60";
    assert!(read(&format!("{out}/store.json")).contains(counts));

    let sound = check(&["store", "verify", &store], 0, "");
    assert!(sound.contains("a start keeps 60 records"), "{sound}");
    assert!(sound.ends_with("\nsound\n"), "{sound}");
    let json = check(&["store", "recover", &store, "--out", &copy, "--json"], 0, "");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["minPhyOffset"], 0);
    assert_eq!(
        json["queues"][1],
        serde_json::json!({
            "topic": "T", "queueId": 1, "min": 0, "max": 30, "readable": 30
        })
    );
    assert_eq!(json["dropped"], serde_json::json!([]));
    check(&["store", "recover", &store, "--out", &copy], 64, "is not empty\n  help: ");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's, not simulated ones")]
fn a_damaged_store_is_told_from_a_sound_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, copy) = (path("store"), path("copy"));
    a_store(Path::new(&store));
    let file = format!("{store}/commitlog/00000000000000000000");
    let mut log = std::fs::read(&file).expect("a file");
    log[3_000] ^= 1;
    std::fs::write(&file, log).expect("the file is ours");

    let said = check(&["store", "verify", &store], 1, "");
    assert!(said.contains("\ndamage  commitlog, offset "), "{said}");
    assert!(said.contains("a start refuses; told to salvage, it leaves this out"), "{said}");
    assert!(said.ends_with("\ndamaged\n"), "{said}");
    assert!(said.starts_with(&format!("{store}: a start refuses: {file} is damaged at offset ")));
    assert!(said.contains("`store recover --salvage` would keep 59 records in 0.."), "{said}");
    let json = check(&["store", "verify", &store, "--json"], 1, "");
    assert!(json.contains("\"severity\": \"damage\""), "{json}");
    check(&["store", "recover", &store, "--out", &copy], 1, "error: the copy does not start: ");
    let copy = path("second");
    // A record was left out: that is said to the shell, too.
    let text = check(&["store", "recover", &store, "--out", &copy, "--salvage"], 1, "");
    assert!(text.contains("\nleft out "), "{text}");
    assert!(text.contains("          29  T/"), "{text}");
    let said = check(&["store", "verify", &copy], 0, "");
    assert!(said.ends_with("\nsound\n"), "{said}");
}

/// The sizes of [`a_store`], with other lines.
fn properties(path: &Path, lines: &str) -> String {
    let sizes = "mappedFileSizeCommitLog=8192\nmappedFileSizeConsumeQueue=2000\n\
                 maxHashSlotNum=100\nmaxIndexNum=400\n";
    write(path, &format!("{sizes}{lines}"));
    path.display().to_string()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's, not simulated ones")]
fn a_log_is_looked_for_where_the_configuration_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, log, copy) = (path("store"), path("disk2/log"), path("copy"));
    a_store_with(Path::new(&store), Some(Path::new(&log)));
    check(&["store", "verify", &store], 64, "is no store: it has no directory commitlog");
    let lines = format!("storePathRootDir={store}\nstorePathCommitLog={log}\n");
    let conf = &properties(&dir.path().join("broker.properties"), &lines);

    // What lies where the log would be is no part of the store.
    std::fs::create_dir(Path::new(&store).join("commitlog")).expect("the directory is ours");
    write(&Path::new(&store).join("commitlog/00000000000000000000"), "old");
    let listing = check(&["store", "dump", &store, "--conf", conf], 0, "");
    assert_eq!(listing.matches("  keys k").count(), 60, "{listing}");
    assert!(listing.starts_with(&format!("{log}/00000000000000000000\n")), "{listing}");
    let out = path("out");
    check(&["store", "dump", &store, "--conf", conf, "--out", &out], 0, "");
    assert_eq!(read(&format!("{out}/commitlog.jsonl")).matches("\"topic\":\"T\"").count(), 60);
    assert!(read(&format!("{out}/store.json")).contains(&format!("{log}/00000000000000008192")));
    let inside = format!("{log}/dump");
    for command in ["dump", "recover"] {
        check(&["store", command, &store, "--conf", conf, "--out", &inside], 64, "overlap\n");
    }
    let said = check(&["store", "verify", &store, "--conf", conf], 0, "");
    let header = format!("{store}, log {log}: a start keeps 60 records in 0..");
    assert!(said.starts_with(&header) && said.ends_with("\nsound\n"), "{said}");
    check(&["store", "recover", &store, "--conf", conf, "--out", &copy], 0, "");
    let said = check(&["store", "verify", &copy], 0, "");
    assert!(said.starts_with(&format!("{copy}: a start keeps 60 records")), "{said}");

    let file = format!("{log}/00000000000000000000");
    let mut bytes = std::fs::read(&file).expect("a file");
    bytes[3_000] ^= 1;
    std::fs::write(&file, bytes).expect("the file is ours");
    let said = check(&["store", "verify", &store, "--conf", conf], 1, "");
    assert!(said.contains(&format!("\ndamage  {log}, offset ")), "{said}");
}

#[test]
fn a_log_inside_the_root_is_found_in_a_copy_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, copy) = (path("store"), path("copy"));
    let log = Path::new(&store).join("log");
    a_store_with(Path::new(&store), Some(&log));
    for log in ["log", "commitlog"] {
        // The broker that wrote it had it elsewhere.
        let lines = format!("storePathRootDir=/data/store\nstorePathCommitLog=/data/store/{log}\n");
        let conf = &properties(&dir.path().join(format!("{log}.properties")), &lines);
        let (code, refusal) =
            if log == "log" { (0, "") } else { (64, "has no directory commitlog") };
        let said = check(&["store", "verify", &store, "--conf", conf], code, refusal);
        assert!(said.is_empty() || said.starts_with(&format!("{store}, log {store}/log: ")));
        check(&["store", "recover", &store, "--conf", conf, "--out", &copy], code, refusal);
    }
    check(&["store", "verify", &copy], 0, "");
    assert!(!Path::new(&copy).join("log").exists(), "the log is in its usual place");
}

#[test]
fn a_log_that_is_not_there_is_named_with_its_line() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    a_store(&store);
    let conf = properties(&dir.path().join("b.properties"), "storePathCommitLog=/no/such/log\n");
    let text = format!(
        "error: {conf}: line 5: storePathCommitLog = /no/such/log: /no/such/log is no directory\n  \
         help: name the directory that holds the CommitLog's files\n"
    );
    let (store, copy) =
        (store.display().to_string(), dir.path().join("copy").display().to_string());
    for command in [&["dump"][..], &["verify"], &["recover", "--out", &copy]] {
        let args = [&["store"], command, &[&store, "--conf", &conf]].concat();
        check(&args, 64, &text);
    }
}

#[test]
fn a_store_in_use_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, copy) = (path("store"), path("copy"));
    a_store(Path::new(&store));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    // The child of another test may still hold it as well, between its fork and its program's start.
    let (disk, path) = (mq_env::Env::os().disk, Path::new(&store).join("lock"));
    let lock = std::iter::repeat_with(|| disk.lock(&path)).find_map(Result::ok);
    let text = format!("error: {store} is in use: a broker runs on it");
    for args in [
        &["store", "dump", &store][..],
        &["store", "verify", &store],
        &["store", "recover", &store, "--out", &copy],
    ] {
        check(args, 64, &text);
        check(args, 64, "\n  help: stop the broker");
    }
    drop(lock);
    check(&["store", "verify", &store], 0, "");
}

/// Runs the command as somebody who is not root, from where everybody may run it.
fn check_as_nobody(dir: &Path, args: &[&str], code: i32, text: &str) {
    const NOBODY: u32 = 65_534;
    let binary = dir.join("staticfire");
    if !binary.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_staticfire"), &binary).expect("the directory is ours");
    }
    let mut command = Command::new(&binary);
    let is_root = dir.metadata().expect("the directory is ours").uid() == 0;
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.current_dir(dir).args(args).output().expect("the command starts");
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(stderr.contains(text), "{args:?}: {text:?} not in {stderr:?}");
}

#[test]
fn what_must_not_be_read_is_named() {
    let permit = |path: &Path, mode: u32| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, permissions).expect("the files are ours");
    };
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    a_store(&store);
    permit(dir.path(), 0o755);
    // Who may only read may examine, lock or not.
    permit(&store.join("lock"), 0o444);
    check_as_nobody(dir.path(), &["store", "verify", "store"], 0, "");
    check_as_nobody(dir.path(), &["store", "dump", "store"], 0, "");
    let file = store.join("commitlog/00000000000000000000");
    permit(&file, 0o000);
    let text = "error: store/commitlog/00000000000000000000: Permission denied";
    for command in ["verify", "dump"] {
        check_as_nobody(dir.path(), &["store", command, "store"], 64, text);
    }
    permit(&file, 0o644);
    permit(&store, 0o000);
    check_as_nobody(
        dir.path(),
        &["store", "verify", "store"],
        64,
        "error: store: Permission denied",
    );
    permit(&store, 0o755);
}

#[test]
fn nothing_is_written_into_the_store() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store").display().to_string();
    a_store(Path::new(&store));
    let inside = format!("{store}/dump");
    for command in ["dump", "recover"] {
        check(
            &["store", command, &store, "--out", &inside],
            64,
            "overlap\n  help: give a directory",
        );
        check(&["store", command, &store, "--out", &store], 64, "overlap\n");
    }
    assert!(!Path::new(&inside).exists());
}

#[test]
fn what_is_no_store_is_refused() {
    check(&["store", "verify", "Cargo.toml"], 64, "error: Cargo.toml is no store");
    check(&["store", "verify", "no-such-place"], 64, "error: no-such-place is no store");
    let help = "  help: give the directory that storePathRootDir names\n";
    for args in [["store", "dump"], ["store", "verify"]] {
        let args = [&args[..], &["scenarios"]].concat();
        check(&args, 64, "error: scenarios is no store: it has no directory commitlog\n");
        check(&args, 64, help);
    }
    check(&["store", "recover", "scenarios", "--out", "no-such-place"], 64, help);
    check(&["store", "verify", "scenarios", "--conf", "no-such-file"], 64, "no-such-file: ");
    check(&["store", "mend"], 64, "unrecognized subcommand");
    let help = check(&["store", "recover", "--help"], 0, "");
    assert!(help.contains("\nExample:\n  staticfire store recover "), "{help}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files of the test's, not simulated ones")]
fn a_dledger_node_is_verified_and_recovered() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (store, copy) = (path("store"), path("copy"));
    let node = Path::new(&store).join("dledger-n0");
    std::fs::create_dir_all(node.join("data")).expect("the directory is ours");
    let lines = "enableDLegerCommitLog=true\ndLegerGroup=a\ndLegerPeers=n0-127.0.0.1:40911\n\
                 dLegerSelfId=n0\nstorePathCommitLog=/no/such/log\n";
    let conf = &properties(&dir.path().join("n0.properties"), lines);
    let said = check(&["store", "verify", &store, "--conf", conf], 0, "");
    assert!(said.contains("a start keeps 0 records in 0..0, up to: no files\n"), "{said}");
    assert!(said.ends_with("\nsound\n"), "{said}");
    write(&node.join("checkpoint"), "committedIndex=3\nendIndex=3\n");
    let said = check(&["store", "verify", &store], 1, "");
    assert!(said.contains("\ndamage  dledger-n0/checkpoint: says that "), "{said}");
    let recovered = check(&["store", "recover", &store, "--out", &copy], 1, "");
    assert!(recovered.contains(": log 0..0, up to: "), "{recovered}");
    assert!(recovered.contains("dropped 4 more"), "{recovered}");
    std::fs::create_dir(Path::new(&store).join("dledger-n1")).expect("the directory is ours");
    let text = "holds the logs of several DLedger nodes\n  help: move away all but the one";
    check(&["store", "verify", &store], 64, text);
}
