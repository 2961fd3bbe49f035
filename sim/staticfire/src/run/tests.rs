//! Whole runs, small ones: a promise that is kept, and promises that nobody can keep. Each of the latter is
//! red by one fact that the stand gathers, and by that alone.

use staticfire_world::world::Failure;

use super::*;
use crate::plan::Millis;
use crate::run::report::Verdict;

fn story(events: &str, check: &str) -> Plan {
    let text = format!(
        "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\nwriteback_interval = \"0ms\"\n\
         [[cluster.group]]\nname = \"a\"\nrole = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\nslaves = 1\n\
         [workload]\nmessages = 100\n{events}\n[check]\n{check}\n"
    );
    Plan::parse(&text).unwrap()
}

/// Events one after the other, a second apart, the first once thirty messages are acknowledged.
fn events(actions: &[&str]) -> String {
    let when = |index: usize| match index {
        0 => "when = { acks = 30 }",
        _ => "when = \"previous\"\ndelay = \"1s\"",
    };
    let event = |(index, action): (usize, &&str)| {
        format!("[[event]]\n{}\ndo = {{ {action} }}\n", when(index))
    };
    actions.iter().enumerate().map(event).collect()
}

/// The verdict of a run and what it says.
fn told(plan: &Plan) -> (Verdict, String) {
    let report = run(plan, 1, "-").report;
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    (report.verdict, findings.join("\n"))
}

fn finds(plan: &Plan, verdict: Verdict, text: &str) {
    let (found, findings) = told(plan);
    assert_eq!(found, verdict, "{findings}");
    assert!(findings.contains(text), "{text:?} is not in {findings}");
}

#[test]
fn a_quiet_run_keeps_everything() {
    let outcome = run(&story("", "promise = \"never\""), 1, "-");
    assert_eq!(outcome.report.verdict, Verdict::Kept, "{:#?}", outcome.report);
    assert_eq!(outcome.report.acked, outcome.report.sent);
}

#[test]
fn a_loss_that_a_fault_permits_is_none_that_a_plan_permits() {
    let lost =
        events(&["power_loss = { node = \"a\", worst = true }", "restart = { node = \"a\" }"]);
    let never = story(&lost, "promise = \"never\"");
    finds(&never, Verdict::Broken, "is lost: a was not synced at the power loss");
    let lag = story(&lost, "promise = \"may\"\nbound = \"lag\"");
    finds(&lag, Verdict::Broken, "is lost outside the bound lag");
    assert_eq!(told(&story(&lost, "promise = \"owed\"")).0, Verdict::Kept);
    let unflushed = story(&lost, "promise = \"may\"\nbound = \"master_unflushed\"");
    assert_eq!(told(&unflushed).0, Verdict::Kept);
}

#[test]
fn sends_that_nobody_acknowledges_again_are_no_life() {
    let dead = events(&["kill = { node = \"a\" }"]);
    let plan = story(&dead, "promise = \"never\"\nsends_within = \"5s\"");
    finds(&plan, Verdict::Undecided, "sends to a are acknowledged again: not to be expected");
    finds(&plan, Verdict::Undecided, "cannot be read when the story ends, because a does not run");
}

#[test]
fn a_slave_that_gets_nothing_any_more_is_no_equal_copy() {
    let cut = events(&["partition = { between = [\"a\", \"a-s\"] }"]);
    let plan = story(&cut, "promise = \"never\"\nreplicas_equal_within = \"5s\"");
    let text = "equal and dispatched: not to be expected, because a and a-s are partitioned";
    finds(&plan, Verdict::Undecided, text);
    let unasked = story(&cut, "promise = \"never\"\nreplicas_equal_within = \"never\"");
    assert_eq!(told(&unasked).0, Verdict::Kept);
}

#[test]
fn a_fault_that_nobody_felt_shows_nothing() {
    let unfelt = events(&[
        "read_error = { node = \"a\", file = \"index\", count = 1 }",
        "calm = { node = \"a\" }",
    ]);
    let plan = story(&unfelt, "promise = \"never\"");
    finds(&plan, Verdict::Vacuous, "had no effect");
}

#[test]
fn an_event_that_never_comes_due_and_what_waits_for_it_are_not_told() {
    let plan = story(
        "rate_per_second = 2\n\
         [[event]]\nat = \"5s\"\ndo = { kill = { node = \"a-s\" } }\n\
         [[event]]\nwhen = { recovering = \"a-s\" }\ndo = { kill = { node = \"a\" } }\n\
         [[event]]\nwhen = \"previous\"\ndo = { kill = { node = \"a\" } }\n",
        "promise = \"never\"",
    );
    finds(&plan, Verdict::Vacuous, "event 2 never came due");
    assert!(!told(&plan).1.contains("event 3"));
}

#[test]
fn counts_outside_of_what_the_plan_names_are_broken() {
    let plan = story("", "promise = \"never\"\nmost = { SEND_OK = 99 }");
    finds(&plan, Verdict::Broken, ", at most 99 wanted");
    let plan = story("", "promise = \"never\"\nleast = { lost = 1 }");
    finds(&plan, Verdict::Broken, "lost: 0, at least 1 wanted");
}

/// Two groups without slaves that one workload uses.
fn two_groups(events: &str) -> Plan {
    let group = |name: &str| {
        format!(
            "[[cluster.group]]\nname = \"{name}\"\nrole = \"ASYNC_MASTER\"\nflush = \"ASYNC_FLUSH\"\n"
        )
    };
    let text = format!(
        "title = \"t\"\nholds = \"h\"\n[cluster]\nnamesrv = 1\n{}{}[workload]\nmessages = 60\n\
         queues = 1\n{events}\n[check]\npromise = \"never\"\nsends_within = \"5s\"\n",
        group("a"),
        group("b")
    );
    Plan::parse(&text).unwrap()
}

#[test]
fn of_two_groups_each_is_asked_for_life() {
    let cut = |n| format!("partition = {{ between = [\"b\", \"producer-{n}\"] }}");
    let plan = two_groups(&events(&[&cut(1), &cut(2)]));
    let text = "sends to b are acknowledged again: not to be expected, because producer-1 and b";
    finds(&plan, Verdict::Undecided, text);
}

#[test]
fn what_a_dead_master_holds_is_neither_lost_nor_kept() {
    let plan = two_groups(&events(&["kill = { node = \"b\" }"]));
    let text =
        "acknowledged messages of b cannot be read when the story ends, because b does not run";
    finds(&plan, Verdict::Undecided, text);
    let report = run(&plan, 1, "-").report;
    assert!(report.acked > 30 && report.lost == 0, "{:?}", report.findings);
    // What a fault took is lost, whoever runs.
    let plan = two_groups(&events(&["power_loss = { node = \"b\", worst = true }"]));
    finds(&plan, Verdict::Broken, "is lost: b was not synced at the power loss");
}

#[test]
fn what_is_appended_once_more_waits_for_a_disk_and_rots_like_any_other_record() {
    let poisoned = events(&["flush_error = { node = \"a\", count = 1 }"]);
    let mut plan = story(&format!("delay_level = 2\n{poisoned}"), "promise = \"never\"");
    plan.cluster.groups[0].flush = "SYNC_FLUSH".into();
    let text = "cannot be read when the story ends, because the disk of a failed a sync";
    finds(&plan, Verdict::Undecided, text);
    let astray = events(&["misdirected_write = { node = \"a\", count = 1 }"]);
    for seed in 1..4 {
        let plan = in_transactions(story(&astray, "promise = \"owed\""), 0);
        let report = run(&plan, seed, "-").report;
        assert!(report.verdict < Verdict::Broken, "{:?}", report.findings);
    }
}

#[test]
fn two_masters_at_once_and_a_name_server_that_hears_nothing_accuse_nobody() {
    let both = events(&["promote = { node = \"a-s\" }", "restart = { node = \"a\" }"]);
    let both = in_transactions(story(&both, "promise = \"owed\""), 20);
    let deaf = events(&["partition = { between = [\"a\", \"namesrv-1\"] }"]);
    let deaf = story(&deaf, "promise = \"owed\"");
    let reports = |plan: &Plan| (1..5).map(|seed| run(plan, seed, "-").report).collect::<Vec<_>>();
    for report in reports(&both).into_iter().chain(reports(&deaf)) {
        assert!(report.verdict < Verdict::Broken, "{:?}", report.findings);
    }
}

#[test]
fn what_no_consumer_is_left_to_be_given_waits() {
    let after = |action: &str| story(&events(&[action]), "promise = \"never\"");
    let text = "nobody of it is left: consumer-1";
    finds(&after("kill = { node = \"consumer-1\" }"), Verdict::Kept, text);
    finds(&after("pause = { node = \"consumer-1\" }"), Verdict::Kept, text);
    let cut = after("partition = { between = [\"consumer-1\", \"a\"] }");
    finds(&cut, Verdict::Undecided, ": consumer-1 and a are partitioned");
}

#[test]
fn a_queue_that_is_unlike_its_log_is_found_on_a_slave_that_nobody_reads() {
    let rotten = events(&["rot = { node = \"a-s\", file = \"consumequeue\", bits = 4 }"]);
    // What rots has to be synced before.
    let rotten = rotten.replace("when = { acks = 30 }", "at = \"20s\"");
    let plan = story(&rotten, "promise = \"never\"\nreplicas_equal_within = \"never\"");
    finds(&plan, Verdict::Undecided, "bits of the consumequeue files of a-s rotted");
}

#[test]
fn an_empty_slave_is_no_stranger_and_must_be_filled() {
    let events = events(&[
        "destroy_disk = { node = \"a-s\" }",
        "partition = { between = [\"a\", \"a-s\"] }",
        "restart = { node = \"a-s\" }",
    ]);
    let plan = story(&events, "promise = \"never\"\nreplicas_equal_within = \"5s\"");
    let text = "equal and dispatched: not to be expected, because a and a-s are partitioned";
    finds(&plan, Verdict::Undecided, text);
}

#[test]
fn a_broker_that_refuses_its_last_start_is_found_though_nobody_compares_it() {
    let lacking = events(&[
        "kill = { node = \"a-s\" }",
        "out_of_descriptors = { node = \"a-s\" }",
        "restart = { node = \"a-s\" }",
    ]);
    let plan = story(&lacking, "promise = \"never\"");
    finds(&plan, Verdict::Undecided, "a-s ended by itself while its disk has a fault");
    let rotten = events(&[
        "kill = { node = \"a-s\" }",
        "rot = { node = \"a-s\", file = \"config\", bits = 60 }",
        "restart = { node = \"a-s\" }",
    ]);
    let rotten = rotten.replace("when = { acks = 30 }", "at = \"20s\"");
    let plan = story(&rotten, "promise = \"never\"");
    finds(&plan, Verdict::Undecided, "a-s ended by itself while its disk has a fault");
    let mended = format!(
        "{lacking}[[event]]\nwhen = \"previous\"\ndelay = \"1s\"\ndo = {{ calm = {{ node = \"a-s\" }} }}\n\
         [[event]]\nwhen = \"previous\"\ndo = {{ restart = {{ node = \"a-s\" }} }}\n"
    );
    assert_eq!(told(&story(&mended, "promise = \"never\"")).0, Verdict::Kept);
}

#[test]
fn a_process_that_panics_is_a_broken_promise() {
    let plan = story("", "promise = \"never\"");
    let outcome = run_on(&plan, 1, "-", |config, script| {
        let mut run = World::run(config, 1, async move |world| script.tell(Rc::new(world)).await);
        let (process, text) = ("a".into(), "overflow".to_owned());
        run.failures.push(Failure { at_us: 0, process, task: "flush", text });
        run
    });
    assert_eq!(outcome.report.verdict, Verdict::Broken);
    assert!(outcome.report.findings[0].text.contains("overflow"), "{:?}", outcome.report.findings);
}

/// A SYNC_MASTER whose slave is cut off for a second, with this broker key.
fn sync_master_with(key: &str, value: &str) -> Plan {
    let cut = events(&[
        "partition = { between = [\"a\", \"a-s\"] }",
        "heal = { between = [\"a\", \"a-s\"] }",
    ]);
    let mut plan = story(&cut, "promise = \"never\"");
    "SYNC_MASTER".clone_into(&mut plan.cluster.groups[0].role);
    plan.cluster.properties.insert(key.to_owned(), value.to_owned());
    plan.events[0].when = None;
    plan.events[0].at = Some(Millis(1_000));
    plan
}

#[test]
fn settings_under_which_nothing_is_acknowledged_break_no_promise() {
    let text = "a acknowledged nothing even before the first fault, but FLUSH_SLAVE_TIMEOUT";
    finds(&sync_master_with("slaveTimeout", "0"), Verdict::Vacuous, text);
    let impatient = story("send_timeout = \"1ms\"", "promise = \"never\"");
    finds(&impatient, Verdict::Vacuous, "a acknowledged nothing even before the first fault");
}

#[test]
fn a_master_that_keeps_clients_out_breaks_no_promise() {
    finds(&sync_master_with("brokerPermission", "2"), Verdict::Undecided, "lets no client read");
    finds(&sync_master_with("brokerPermission", "4"), Verdict::Undecided, "lets no client send");
    // Of a slave it matters once that is promoted.
    let promoted = ["kill = { node = \"a\" }", "promote = { node = \"a-s\" }"];
    let mut plan = story(&events(&promoted), "promise = \"may\"\nbound = \"lag\"");
    plan.cluster = crate::plan::expand::expand(&plan.cluster);
    let slave = plan.cluster.brokers.iter_mut().find(|it| it.name == "a-s").unwrap();
    slave.properties.insert("brokerPermission".into(), "4".into());
    finds(&plan, Verdict::Undecided, "a-s: brokerPermission=4 lets no client send");
    plan.events.clear();
    assert_eq!(told(&plan).0, Verdict::Kept);
}

#[test]
fn limits_that_keep_clients_away_break_no_promise() {
    let text = "a: serverConnectionsMax=5 has no room for the clients of this story";
    finds(&sync_master_with("serverConnectionsMax", "5"), Verdict::Undecided, text);
    finds(
        &sync_master_with("maxSubscriptionNums", "1"),
        Verdict::Undecided,
        "maxSubscriptionNums=1",
    );
    assert_eq!(told(&sync_master_with("serverConnectionsMax", "100")).0, Verdict::Kept);
}

#[test]
fn heartbeats_without_an_interval_come_every_millisecond() {
    let outcome = run(&sync_master_with("haSendHeartbeatInterval", "0"), 1, "-");
    assert_eq!(outcome.report.verdict, Verdict::Kept, "{:?}", outcome.report.findings);
    let a_millisecond = outcome.stats.task_polls / outcome.report.sim_ms;
    assert!(a_millisecond < 50, "{:?}", outcome.stats);
}

/// The same with every message in a transaction that is committed.
fn in_transactions(mut plan: Plan, unknown_percent: u32) -> Plan {
    let transaction = crate::plan::TransactionPlan { unknown_percent, ..Default::default() };
    plan.workloads[0].transaction = Some(transaction);
    plan
}

#[test]
fn transactions_that_nobody_is_left_to_be_asked_about_are_undecided() {
    let kill = ["kill = { node = \"producer-1\" }", "kill = { node = \"producer-2\" }"];
    let silence =
        ["partition = { between = [\"producer-1\", \"a\"] }", "kill = { node = \"producer-2\" }"];
    let plan = |gone: [&str; 2], unknown_percent: u32| {
        let check = "promise = \"never\"\nsends_within = \"never\"";
        in_transactions(story(&events(&gone), check), unknown_percent)
    };
    for gone in [silence, kill] {
        finds(&plan(gone, 100), Verdict::Undecided, "no producer is left that could be asked");
    }
    let report = run(&plan(kill, 100), 1, "-").report;
    assert_eq!((report.acked, report.lost), (0, 0), "{:#?}", report.findings);
    // What was ended before they died is owed all the same.
    let report = run(&plan(kill, 0), 1, "-").report;
    assert!(report.acked > 20 && report.lost == 0, "{:#?}", report.findings);
}

#[test]
fn transactions_that_a_broker_gave_up_are_undecided() {
    let check = "promise = \"never\"\nsends_within = \"never\"";
    let mut plan = in_transactions(story(&events(&["kill = { node = \"a-s\" }"]), check), 50);
    let properties = &mut plan.cluster.properties;
    for (key, value) in [("transactionCheckInterval", "3000"), ("transactionCheckMax", "0")] {
        properties.insert(key.to_owned(), value.to_owned());
    }
    finds(&plan, Verdict::Undecided, "gave committed messages up");
}

#[test]
fn a_trace_keeps_what_chains_cite_and_nothing_else_changes() {
    let lost =
        events(&["power_loss = { node = \"a\", worst = true }", "restart = { node = \"a\" }"]);
    let plan = story(&lost, "promise = \"owed\"");
    let (short, whole) = (run(&plan, 1, "-"), run_traced(&plan, 1, "-"));
    assert!(!whole.fates.is_empty(), "nothing is lost: {:#?}", whole.report);
    assert_eq!(short.fates, whole.fates);
    assert_eq!(short.report.without_wall_time(), whole.report.without_wall_time());
    assert_eq!(short.trace.len(), whole.trace.len());
    let kept = |outcome: &RunOutcome| outcome.trace.read(<[_]>::len);
    assert_eq!(kept(&whole), whole.trace.len());
    assert!(kept(&short) * 2 < kept(&whole), "{} of {}", kept(&short), kept(&whole));
}

#[test]
fn a_producer_that_vanishes_without_a_word_is_not_asked_for_ever() {
    let check = "promise = \"never\"";
    let vanishes = events(&["power_loss = { node = \"producer-1\" }"]);
    let mut plan = in_transactions(story(&vanishes, check), 100);
    let properties = &mut plan.cluster.properties;
    properties.insert("transactionCheckInterval".to_owned(), "20000".to_owned());
    let (verdict, findings) = told(&plan);
    assert_eq!(verdict, Verdict::Kept, "{findings}");
}

#[test]
fn a_request_is_acknowledged_when_it_is_though_its_reply_comes_late() {
    // Nobody replies before the disk is gone and other messages lie where these were acknowledged.
    let kind = "window = 200\nrequest_reply = { timeout = \"10s\" }\n\
                [[event]]\nat = \"100ms\"\ndo = { pause = { node = \"consumer-1\" } }\n";
    let gone = events(&[
        "destroy_disk = { node = \"a\" }",
        "restart = { node = \"a\" }",
        "resume = { node = \"consumer-1\" }",
    ]);
    let mut plan = story(&format!("{kind}{gone}"), "promise = \"owed\"");
    plan.cluster.groups[0].slaves = 0;
    let report = run(&plan, 1, "-").report;
    assert_eq!(report.verdict, Verdict::Kept, "{:?}", report.findings);
    // What came after the disk is neither lost nor late.
    assert!((30..60).contains(&report.lost), "{} lost: {:?}", report.lost, report.findings);
    assert!(report.unavailable_ms.is_some_and(|ms| ms < 5_000), "{:?} ms", report.unavailable_ms);
}
