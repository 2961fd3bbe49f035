//! [`StatsTable`]: the flows of a broker by topic, queue and group.

use std::collections::BTreeMap;
use std::time::Duration;

use super::flow::{Flow, Passed};

/// There are as many flows as there may be; the number of them.
pub(super) struct TableFull(pub(super) usize);

/// Flows, the fewest that can answer: of each number and its size there is one.
pub(super) struct StatsTable {
    topics: BTreeMap<String, TopicFlows>,
    all_puts: Option<Flow>,
    all_gets: Option<Flow>,
    room: Room,
}

/// How many more there may be.
struct Room {
    max: usize,
    used: usize,
}

#[derive(Default)]
struct TopicFlows {
    put: Option<Flow>,
    queues: BTreeMap<u32, Flow>,
    groups: BTreeMap<String, GroupFlows>,
}

#[derive(Default)]
struct GroupFlows {
    get: Option<Flow>,
    queues: BTreeMap<u32, Flow>,
    given_back: Option<Flow>,
}

impl Room {
    /// Counts in a flow, which is made if there is room.
    fn add(
        &mut self,
        flow: &mut Option<Flow>,
        age: Duration,
        passed: Passed,
    ) -> Result<(), TableFull> {
        if flow.is_none() {
            self.check()?;
            self.used += 1;
        }
        flow.get_or_insert_with(|| Flow::new(age)).add(age, passed);
        Ok(())
    }

    /// The same in the flow of a queue.
    fn add_to(
        &mut self,
        queues: &mut BTreeMap<u32, Flow>,
        queue_id: u32,
        age: Duration,
        passed: Passed,
    ) -> Result<(), TableFull> {
        if !queues.contains_key(&queue_id) {
            self.check()?;
            self.used += 1;
        }
        queues.entry(queue_id).or_insert_with(|| Flow::new(age)).add(age, passed);
        Ok(())
    }

    /// Whether there may be one more.
    fn check(&self) -> Result<(), TableFull> {
        if self.used < self.max { Ok(()) } else { Err(TableFull(self.max)) }
    }
}

impl StatsTable {
    pub(super) fn new(max: usize) -> Self {
        let room = Room { max, used: 0 };
        StatsTable { topics: BTreeMap::new(), all_puts: None, all_gets: None, room }
    }

    /// 4.9 counts no times here, so that there is no average.
    pub(super) fn broker_put(&mut self, age: Duration, messages: u64) {
        let passed = Passed { messages, ..Passed::default() };
        self.all_puts.get_or_insert_with(|| Flow::new(age)).add(age, passed);
    }

    /// As [`StatsTable::broker_put`].
    pub(super) fn broker_get(&mut self, age: Duration, messages: u64) {
        let passed = Passed { messages, ..Passed::default() };
        self.all_gets.get_or_insert_with(|| Flow::new(age)).add(age, passed);
    }

    pub(super) fn put(
        &mut self,
        age: Duration,
        topic: &str,
        queue_id: u32,
        passed: Passed,
    ) -> Result<(), TableFull> {
        let (flows, room) = self.topic_mut(topic)?;
        room.add(&mut flows.put, age, passed)?;
        room.add_to(&mut flows.queues, queue_id, age, passed)
    }

    pub(super) fn get(
        &mut self,
        age: Duration,
        topic: &str,
        queue_id: u32,
        group: &str,
        passed: Passed,
    ) -> Result<(), TableFull> {
        let (flows, room) = self.group_mut(topic, group)?;
        room.add(&mut flows.get, age, passed)?;
        room.add_to(&mut flows.queues, queue_id, age, passed)
    }

    pub(super) fn sent_back(
        &mut self,
        age: Duration,
        topic: &str,
        group: &str,
        passed: Passed,
    ) -> Result<(), TableFull> {
        let (flows, room) = self.group_mut(topic, group)?;
        room.add(&mut flows.given_back, age, passed)
    }

    pub(super) fn remove_topic(&mut self, topic: &str) {
        if let Some(flows) = self.topics.remove(topic) {
            self.room.used -= flows.count();
        }
    }

    pub(super) fn remove_group(&mut self, group: &str) {
        for flows in self.topics.values_mut() {
            if let Some(removed) = flows.groups.remove(group) {
                self.room.used -= removed.count();
            }
        }
        self.topics.retain(|_, flows| flows.count() > 0);
    }

    /// What was stored, by topic.
    pub(super) fn stored(&self) -> impl Iterator<Item = (&str, Passed)> {
        self.topics
            .iter()
            .filter_map(|(topic, flows)| Some((topic.as_str(), flows.put.as_ref()?.sums())))
    }

    /// What was handed out, by topic and group.
    pub(super) fn handed_out(&self) -> impl Iterator<Item = (&str, &str, Passed)> {
        self.topics.iter().flat_map(|(topic, flows)| {
            let groups = flows.groups.iter();
            groups.filter_map(|(group, flows)| {
                Some((topic.as_str(), group.as_str(), flows.get.as_ref()?.sums()))
            })
        })
    }

    pub(super) fn all_puts(&self) -> Option<&Flow> {
        self.all_puts.as_ref()
    }

    pub(super) fn all_gets(&self) -> Option<&Flow> {
        self.all_gets.as_ref()
    }

    pub(super) fn topic(&self, topic: &str) -> Option<&Flow> {
        self.topics.get(topic)?.put.as_ref()
    }

    pub(super) fn queue(&self, (topic, queue_id): (&str, u32)) -> Option<&Flow> {
        self.topics.get(topic)?.queues.get(&queue_id)
    }

    pub(super) fn group(&self, topic: &str, group: &str) -> Option<&Flow> {
        self.topics.get(topic)?.groups.get(group)?.get.as_ref()
    }

    pub(super) fn group_queue(&self, (topic, queue_id, group): (&str, u32, &str)) -> Option<&Flow> {
        self.topics.get(topic)?.groups.get(group)?.queues.get(&queue_id)
    }

    pub(super) fn given_back(&self, topic: &str, group: &str) -> Option<&Flow> {
        self.topics.get(topic)?.groups.get(group)?.given_back.as_ref()
    }

    /// How many flows of topics there are.
    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        let counted: usize = self.topics.values().map(TopicFlows::count).sum();
        assert_eq!(self.room.used, counted);
        self.room.used
    }

    /// Allocates only where nothing was counted yet.
    fn topic_mut(&mut self, topic: &str) -> Result<(&mut TopicFlows, &mut Room), TableFull> {
        if !self.topics.contains_key(topic) {
            self.room.check()?;
            self.topics.insert(topic.to_owned(), TopicFlows::default());
        }
        let flows = self.topics.get_mut(topic).expect("the topic was just inserted");
        Ok((flows, &mut self.room))
    }

    fn group_mut(
        &mut self,
        topic: &str,
        group: &str,
    ) -> Result<(&mut GroupFlows, &mut Room), TableFull> {
        let (flows, room) = self.topic_mut(topic)?;
        if !flows.groups.contains_key(group) {
            room.check()?;
            flows.groups.insert(group.to_owned(), GroupFlows::default());
        }
        let flows = flows.groups.get_mut(group).expect("the group was just inserted");
        Ok((flows, room))
    }
}

impl TopicFlows {
    fn count(&self) -> usize {
        let groups = self.groups.values().map(GroupFlows::count);
        usize::from(self.put.is_some()) + self.queues.len() + groups.sum::<usize>()
    }
}

impl GroupFlows {
    fn count(&self) -> usize {
        usize::from(self.get.is_some()) + usize::from(self.given_back.is_some()) + self.queues.len()
    }
}
