//! `consumerConnection`, `producerConnection`, `producer`: who is connected.

use std::fmt::Write;

use clap::Args;
use mq_protocol::body::connection::{
    ConsumerConnection as Consumers, ProducerConnection as Producers, ProducerTableInfo,
};
use mq_protocol::codes::MqVersion;

use crate::command::{SubCommand, Terminal};
use crate::error::AdminError;

/// Shows the members of a consumer group, and what it subscribes to.
#[derive(Args)]
pub(crate) struct ConsumerConnection {
    /// The consumer group.
    #[arg(short = 'g', long = "consumerGroup", value_name = "GROUP")]
    group: String,
    /// The broker to ask; without one, those of the group.
    #[arg(short = 'b', long = "brokerAddr", value_name = "ADDRESS")]
    broker_addr: Option<String>,
}

impl SubCommand for ConsumerConnection {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let addr = self.broker_addr.as_deref();
        let members = terminal.admin.examine_consumer_connection_info(&self.group, addr).await?;
        terminal.print(&consumers_text(&members))
    }
}

fn consumers_text(members: &Consumers) -> String {
    let mut out =
        format!("{:<36} {:<22} {:<10} {}\n", "#ClientId", "#ClientAddr", "#Language", "#Version");
    for it in &members.connection_set {
        let version = MqVersion::name(it.version);
        let _ = writeln!(
            out,
            "{:<36} {:<22} {:<10} {version}",
            it.client_id, it.client_addr, it.language
        );
    }
    let _ = writeln!(out, "\nBelow is subscription:\n{:<20} #SubExpression", "#Topic");
    for it in members.subscription_table.values() {
        let _ = writeln!(out, "{:<20} {}", it.topic, it.sub_string);
    }
    let _ = writeln!(
        out,
        "\nConsumeType: {}\nMessageModel: {}\nConsumeFromWhere: {}",
        members.consume_type.name(),
        members.message_model.name(),
        members.consume_from_where.name(),
    );
    out
}

/// Shows the members of a producer group.
#[derive(Args)]
pub(crate) struct ProducerConnection {
    /// The producer group.
    #[arg(short = 'g', long = "producerGroup", value_name = "GROUP")]
    group: String,
    /// A topic that it sends to.
    #[arg(short = 't', long = "topic")]
    topic: String,
}

impl SubCommand for ProducerConnection {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let admin = &terminal.admin;
        let members = admin.examine_producer_connection_info(&self.group, &self.topic).await?;
        terminal.print(&producers_text(&members))
    }
}

fn producers_text(members: &Producers) -> String {
    let rows = (1..).zip(&members.connection_set).map(|(number, it)| {
        let version = MqVersion::name(it.version);
        format!(
            "{number:04}  {:<32} {:<22} {:<8} {version}\n",
            it.client_id, it.client_addr, it.language
        )
    });
    rows.collect()
}

/// Shows all producers of a broker.
#[derive(Args)]
pub(crate) struct Producer {
    /// The broker.
    #[arg(short = 'b', long = "broker", value_name = "ADDRESS")]
    broker_addr: String,
}

impl SubCommand for Producer {
    async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
        let table = terminal.admin.get_all_producer_info(&self.broker_addr).await?;
        terminal.print(&producer_table_text(&table))
    }
}

fn producer_table_text(table: &ProducerTableInfo) -> String {
    let mut out = String::new();
    if table.data.is_empty() {
        return "no producer group\n".to_owned();
    }
    for (group, members) in &table.data {
        if members.is_empty() {
            let _ = writeln!(out, "producer group ({group}) instances are empty");
        }
        for it in members {
            let _ = writeln!(
                out,
                "producer group ({group}) instance : clientId={},remoteIP={}, language={}, \
                 version={}, lastUpdateTimestamp={}",
                it.client_id, it.remote_ip, it.language, it.version, it.last_update_timestamp
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use mq_protocol::body::connection::{Connection, ProducerInfo};
    use mq_protocol::body::heartbeat::{
        ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData,
    };

    use super::*;

    fn connection(id: &str, port: u16) -> Connection {
        Connection {
            client_addr: format!("127.0.0.1:{port}"),
            client_id: format!("127.0.0.1@{id}"),
            language: "JAVA".into(),
            version: MqVersion::V4_9_7,
        }
    }

    #[test]
    fn connections_are_printed_as_they_were_recorded() {
        let subscription =
            |topic: &str| (topic.to_owned(), SubscriptionData::by_tags(topic, "*", 1).unwrap());
        let members = Consumers {
            connection_set: vec![connection("kc", 56102)],
            consume_from_where: ConsumeFromWhere::ConsumeFromFirstOffset,
            consume_type: ConsumeType::ConsumePassively,
            message_model: MessageModel::Clustering,
            subscription_table: [subscription("TK"), subscription("%RETRY%CGK")].into(),
        };
        let recorded = include_str!("../../fixtures/22-consumerConnection.txt");
        assert_eq!(consumers_text(&members), recorded);
        let members = Producers { connection_set: vec![connection("kp", 56066)] };
        let recorded = include_str!("../../fixtures/23-producerConnection.txt");
        assert_eq!(producers_text(&members), recorded);
    }

    #[test]
    fn producers_of_a_broker_are_printed_as_they_were_recorded() {
        let instance = |id: &str, port: u16, last_update_timestamp| ProducerInfo {
            client_id: format!("127.0.0.1@{id}"),
            language: "JAVA".into(),
            last_update_timestamp,
            remote_ip: format!("/127.0.0.1:{port}"),
            version: 407,
        };
        let kp = instance("kp", 56066, 1_795_952_570_536);
        let kc = instance("kc", 56102, 1_795_952_546_464);
        let inner = vec![kp.clone(), kc];
        let data = [("PGK".into(), vec![kp]), ("CLIENT_INNER_PRODUCER".into(), inner)].into();
        let text = producer_table_text(&ProducerTableInfo { data });
        assert_eq!(text, include_str!("../../fixtures/24-producer.txt"));
        let data = [("P".into(), vec![])].into();
        let text = producer_table_text(&ProducerTableInfo { data });
        assert_eq!(text, "producer group (P) instances are empty\n");
    }
}
