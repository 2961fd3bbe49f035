//! [`MqAdmin`]: what `mqadmin` was called with, and the way to the commands.

use std::ffi::OsString;
use std::io::Write;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory, Parser, Subcommand};
use mq_env::Env;

use crate::command::{SubCommand, Terminal};
use crate::commands::{
    acl, broker, clean, cluster, connection, console, consume_message, consumer, export, group,
    metrics, monitor, namesrv, offset, print_msg, query_cq, query_msg, running_info, send, stats,
    topic, topic_update, trace,
};
use crate::error::AdminError;
use crate::mq_admin_ext::MqAdminExt;
use crate::surroundings::Surroundings;
use crate::text::LocalTime;

/// What operators ask of a RocketMQ cluster.
#[derive(Parser)]
#[command(name = "mqadmin", version, arg_required_else_help = true)]
pub struct MqAdmin {
    /// Name servers, HOST:PORT each, split by `;`; without them NAMESRV_ADDR says who they are.
    #[arg(short = 'n', long = "namesrvAddr", global = true, value_name = "ADDRESSES")]
    namesrv_addr: Option<String>,
    #[command(subcommand)]
    command: Command,
}

/// Declares the commands: RocketMQ's name, ours, and where it is.
macro_rules! commands {
    ($($(#[$meta:meta])* $name:literal $variant:ident($args:ty),)*) => {
        #[derive(Subcommand)]
        enum Command {
            $(
                #[command(name = $name)]
                $(#[$meta])*
                $variant($args),
            )*
        }

        impl Command {
            async fn execute(&self, terminal: &mut Terminal<'_>) -> Result<(), AdminError> {
                match self {
                    $(Command::$variant(args) => Box::pin(args.execute(terminal)).await,)*
                }
            }
        }
    };
}

commands! {
    "updateTopic" UpdateTopic(topic_update::UpdateTopic),
    "deleteTopic" DeleteTopic(topic_update::DeleteTopic),
    "updateSubGroup" UpdateSubGroup(group::UpdateSubGroup),
    "deleteSubGroup" DeleteSubGroup(group::DeleteSubGroup),
    "updateBrokerConfig" UpdateBrokerConfig(broker::UpdateBrokerConfig),
    "updateTopicPerm" UpdateTopicPerm(topic_update::UpdateTopicPerm),
    "topicRoute" TopicRoute(topic::TopicRoute),
    "topicStatus" TopicStatus(topic::TopicStatus),
    "topicClusterList" TopicClusterList(topic::TopicClusterList),
    "brokerStatus" BrokerStatus(broker::BrokerStatus),
    "queryMsgById" QueryMsgById(query_msg::QueryMsgById),
    "queryMsgByKey" QueryMsgByKey(query_msg::QueryMsgByKey),
    "queryMsgByUniqueKey" QueryMsgByUniqueKey(query_msg::QueryMsgByUniqueKey),
    "queryMsgByOffset" QueryMsgByOffset(query_msg::QueryMsgByOffset),
    "queryMsgTraceById" QueryMsgTraceById(trace::QueryMsgTraceById),
    "decodeMessageId" DecodeMessageId(query_msg::DecodeMessageId),
    "printMsg" PrintMsg(print_msg::PrintMsg),
    "printMsgByQueue" PrintMsgByQueue(print_msg::PrintMsgByQueue),
    "sendMsgStatus" SendMsgStatus(send::SendMsgStatus),
    "brokerConsumeStats" BrokerConsumeStats(stats::BrokerConsumeStats),
    "producerConnection" ProducerConnection(connection::ProducerConnection),
    "consumerConnection" ConsumerConnection(connection::ConsumerConnection),
    "consumerProgress" ConsumerProgress(consumer::ConsumerProgress),
    "consumerStatus" ConsumerStatus(running_info::ConsumerStatus),
    "cloneGroupOffset" CloneGroupOffset(offset::CloneGroupOffset),
    "producer" Producer(connection::Producer),
    "clusterList" ClusterList(cluster::ClusterList),
    "topicList" TopicList(topic::TopicList),
    "updateKvConfig" UpdateKvConfig(namesrv::UpdateKvConfig),
    "deleteKvConfig" DeleteKvConfig(namesrv::DeleteKvConfig),
    "wipeWritePerm" WipeWritePerm(namesrv::WipeWritePerm),
    "addWritePerm" AddWritePerm(namesrv::AddWritePerm),
    "resetOffsetByTime" ResetOffsetByTime(offset::ResetOffsetByTime),
    "resetOffsetByTimeOld" ResetOffsetByTimeOld(offset::ResetOffsetByTimeOld),
    "skipAccumulatedMessage" SkipAccumulatedMessage(offset::SkipAccumulatedMessage),
    "getConsumerStatus" GetConsumerStatus(offset::GetConsumerStatus),
    "updateOrderConf" UpdateOrderConf(namesrv::UpdateOrderConf),
    "cleanExpiredCQ" CleanExpiredCq(clean::CleanExpiredCq),
    "deleteExpiredCommitLog" DeleteExpiredCommitLog(clean::DeleteExpiredCommitLog),
    "cleanUnusedTopic" CleanUnusedTopic(clean::CleanUnusedTopic),
    "startMonitoring" StartMonitoring(monitor::StartMonitoring),
    "statsAll" StatsAll(stats::StatsAll),
    "allocateMQ" AllocateMq(topic::AllocateMq),
    "checkMsgSendRT" CheckMsgSendRt(send::CheckMsgSendRt),
    "clusterRT" ClusterRt(send::ClusterRt),
    "getNamesrvConfig" GetNamesrvConfig(namesrv::GetNamesrvConfig),
    "updateNamesrvConfig" UpdateNamesrvConfig(namesrv::UpdateNamesrvConfig),
    "getBrokerConfig" GetBrokerConfig(broker::GetBrokerConfig),
    "getConsumerConfig" GetConsumerConfig(group::GetConsumerConfig),
    "queryCq" QueryCq(query_cq::QueryCq),
    "sendMessage" SendMessage(send::SendMessage),
    "consumeMessage" ConsumeMessage(consume_message::ConsumeMessage),
    "updateAclConfig" UpdateAclConfig(acl::UpdateAclConfig),
    #[command(alias = "deleteAccessConfig")]
    "deleteAclConfig" DeleteAclConfig(acl::DeleteAclConfig),
    "clusterAclConfigVersion" ClusterAclConfigVersion(acl::ClusterAclConfigVersion),
    "updateGlobalWhiteAddr" UpdateGlobalWhiteAddr(acl::UpdateGlobalWhiteAddr),
    #[command(alias = "getAccessConfigSubCommand")]
    "getAclConfig" GetAclConfig(acl::GetAclConfig),
    "exportMetadata" ExportMetadata(export::ExportMetadata),
    "exportConfigs" ExportConfigs(export::ExportConfigs),
    "exportMetrics" ExportMetrics(metrics::ExportMetrics),
    "haStatus" HaStatus(broker::HaStatus),
    "console" Console(console::Console),
}

impl MqAdmin {
    /// Reads arguments, the program's name first. Names of commands count in any case.
    ///
    /// # Errors
    /// What is wrong and what is allowed instead; or help and version, where these were asked for.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = with_known_names(args.into_iter().collect());
        MqAdmin::try_parse_from(&args).map_err(|error| explained(error, &args))
    }

    /// Carries out the command, and prints what it finds to `out`.
    ///
    /// # Errors
    /// Says what failed and at which address. What was printed before stands.
    pub async fn run(
        &self,
        env: &Env,
        surroundings: &Surroundings,
        out: &mut dyn Write,
    ) -> Result<(), AdminError> {
        let addrs = self.namesrv_addr.as_ref().or(surroundings.namesrv_addr.as_ref());
        let addrs = name_servers(addrs.map_or("", String::as_str))?;
        let credentials = surroundings.session_credentials.clone();
        let admin = MqAdminExt::start(env.clone(), addrs, credentials);
        let time = LocalTime::new(env.clock.clone());
        let result = self.command.execute(&mut Terminal::new(admin.clone(), time, out)).await;
        admin.shutdown().await;
        result
    }
}

/// The addresses of a list split by `;`.
fn name_servers(list: &str) -> Result<Vec<String>, AdminError> {
    let addrs = list.split(';').map(str::trim).filter(|addr| !addr.is_empty());
    let is_addr = |addr: &str| {
        let parts = addr.rsplit_once(':');
        parts.is_some_and(|(host, port)| {
            !host.is_empty() && !host.contains([',', ' ']) && port.parse::<u16>().is_ok()
        })
    };
    addrs
        .map(|addr| match is_addr(addr) {
            true => Ok(addr.to_owned()),
            false => Err(AdminError::Input(format!(
                "{addr} is no address of a name server; allowed: HOST:PORT, several split by ;"
            ))),
        })
        .collect()
}

/// Words that are commands but for the case of their letters, as the command is spelt: the first word that is
/// no option, and the one behind `help`.
fn with_known_names(mut args: Vec<OsString>) -> Vec<OsString> {
    let known = MqAdmin::command();
    let spelt = |word: &str| {
        let names = known.get_subcommands().flat_map(|command| {
            std::iter::once(command.get_name()).chain(command.get_all_aliases())
        });
        let mut named = names.filter(|name| name.eq_ignore_ascii_case(word));
        named.next().map(OsString::from)
    };
    let mut is_value = false;
    for arg in args.iter_mut().skip(1) {
        let Some(word) = arg.to_str().map(str::to_owned) else { return args };
        if word.starts_with('-') {
            is_value = matches!(word.as_str(), "-n" | "--namesrvAddr");
        } else if std::mem::take(&mut is_value) {
        } else if word.eq_ignore_ascii_case("help") {
            *arg = "help".into();
        } else {
            *arg = spelt(&word).unwrap_or_else(|| arg.clone());
            break;
        }
    }
    args
}

/// The error with what is allowed, where that is not said already.
fn explained(error: clap::Error, args: &[OsString]) -> clap::Error {
    let mut known = MqAdmin::command();
    known.build();
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        // The likeliest is the last.
        Some(ContextValue::Strings(texts)) => texts.last().cloned(),
        _ => None,
    };
    let meant = |suggestion| match said(suggestion) {
        Some(word) => format!("; did you mean {word}?"),
        None => ".".to_owned(),
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = said(ContextKind::InvalidSubcommand).unwrap_or_default();
            let names: Vec<&str> = known.get_subcommands().map(clap::Command::get_name).collect();
            let meant = meant(ContextKind::SuggestedSubcommand);
            let sentence =
                format!("there is no command {word}{meant} The commands are: {}", names.join(", "));
            known.error(ErrorKind::InvalidSubcommand, sentence)
        }
        ErrorKind::UnknownArgument => {
            let word = said(ContextKind::InvalidArg).unwrap_or_default();
            let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
            let Some(command) = words.find_map(|word| known.find_subcommand(word)) else {
                return error;
            };
            let options: Vec<String> = command.get_arguments().filter_map(option).collect();
            let meant = meant(ContextKind::SuggestedArg);
            let (name, options) = (command.get_name(), options.join(", "));
            let sentence = format!("{name} has no option {word}{meant} Its options are: {options}");
            known.error(ErrorKind::UnknownArgument, sentence)
        }
        _ => error,
    }
}

/// `-t/--topic`
fn option(arg: &Arg) -> Option<String> {
    Some(format!("-{}/--{}", arg.get_short()?, arg.get_long()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<MqAdmin, clap::Error> {
        let words = std::iter::once("mqadmin").chain(line.split_whitespace());
        MqAdmin::read(words.map(OsString::from))
    }

    #[test]
    fn the_commands_are_well_formed() {
        MqAdmin::command().debug_assert();
    }

    #[test]
    fn names_count_in_any_case() {
        for line in
            ["TOPICLIST", "topiclist -n h:1", "-n h:1 topicList", "DeleteAccessConfig -b h:1 -a k"]
        {
            assert!(read(line).is_ok(), "{line}");
        }
        let help = read("HELP topicroute").err().unwrap();
        assert!(!help.use_stderr() && help.to_string().contains("--list"), "{help}");
    }

    #[test]
    fn what_is_wrong_is_said_with_what_is_allowed() {
        for (line, says) in [
            (
                "topicLis",
                &["there is no command topicLis", "did you mean topicList?", "wipeWritePerm"][..],
            ),
            ("topicRoute -t T -z", &["topicRoute has no option -z", "-t/--topic", "-l/--list"]),
            ("topicRoute --topik T", &["has no option --topik", "did you mean --topic?"]),
            ("topicRoute", &["--topic"]),
            ("updateTopic -t T", &["--brokerAddr", "--clusterName"]),
            ("updateTopic -t T -b h:1 -c C", &["cannot be used with"]),
            ("updateTopic -t T -b h:1 -p 9", &["invalid value '9'"]),
            ("updateTopic -t T -b h:1 -o yes", &["possible values: true, false"]),
            ("updateOrderConf -t T -m put", &["--orderConf"]),
            ("updateOrderConf -t T -m take", &["possible values: put, get, delete"]),
            ("consumeMessage -t T -i 0", &["--brokerName"]),
        ] {
            let error = read(line).err().unwrap_or_else(|| panic!("{line} was taken"));
            assert!(error.use_stderr(), "{line}");
            let text = error.to_string();
            for part in says {
                assert!(text.contains(part), "{line}: {text}");
            }
        }
    }

    #[test]
    fn addresses_of_name_servers_are_checked() {
        assert_eq!(name_servers("a:1; b:2;").unwrap(), ["a:1", "b:2"]);
        assert!(name_servers("").unwrap().is_empty());
        for bad in ["a", "a:", ":1", "a:99999", "a:1,b:2"] {
            assert!(name_servers(bad).unwrap_err().to_string().contains("HOST:PORT"), "{bad}");
        }
    }
}
