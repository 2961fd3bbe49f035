//! [`WorkloadKind`]: what there is in workloads that may go wrong by itself.

use std::fmt;

use super::{ConsumerGroupPlan, WorkloadPlan};

macro_rules! kinds {
    ($($kind:ident = $name:literal, $holds:expr;)+) => {
        /// Something that a workload has; most have several.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum WorkloadKind {
            $(#[doc = concat!("In tables: ", $name, ".")] $kind,)+
        }

        impl WorkloadKind {
            /// Every kind.
            pub const ALL: &'static [WorkloadKind] = &[$(WorkloadKind::$kind),+];

            /// Whether a workload has it.
            #[must_use]
            pub fn is_of(self, work: &WorkloadPlan) -> bool {
                let holds: fn(&WorkloadPlan) -> bool = match self {
                    $(WorkloadKind::$kind => $holds,)+
                };
                holds(work)
            }

            fn name(self) -> &'static str {
                match self {
                    $(WorkloadKind::$kind => $name,)+
                }
            }
        }
    };
}

kinds! {
    Single = "one by one", |work| work.batch == 1 && work.transaction.is_none();
    Batch = "batches", |work| work.batch > 1;
    Ordered = "in order", |work| work.ordered;
    Delayed = "delayed", WorkloadPlan::is_delayed;
    Transaction = "transactions", |work| work.transaction.is_some();
    Request = "requests", |work| work.request_reply.is_some();
    Asynchronous = "asynchronous", |work| work.is_async;
    Oneway = "one way", |work| work.oneway_percent > 0;
    Unwaited = "WAIT=false", |work| work.wait_false_percent > 0;
    Outbox = "outboxes", |work| work.outbox;
    Compressed = "compressed", |work| work.compress_over_bytes.is_some();
    Burst = "bursts", |work| work.burst.is_some();
    Failing = "failing listeners", |work| any(work, |it| it.fails.is_some());
    Slow = "slow listeners", |work| any(work, |it| it.consume_time.0 > 0);
    InOrder = "consumed in order", |work| any(work, |it| it.orderly);
    Broadcast = "broadcast", |work| any(work, |it| it.broadcast);
    Filtered = "filters", |work| any(work, |it| it.filter.is_some());
    Polling = "polling", |work| any(work, |it| it.lite_pull);
    Idempotent = "behind the kit", |work| any(work, |it| it.idempotent);
    SeveralGroups = "several groups", |work| work.all_consumer_groups().len() > 1;
}

fn any(work: &WorkloadPlan, holds: fn(&ConsumerGroupPlan) -> bool) -> bool {
    work.consumer_groups.iter().any(holds)
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
