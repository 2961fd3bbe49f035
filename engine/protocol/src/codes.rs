//! Numbers of the protocol and their names: requests, responses, languages, versions.
//!
//! Codes travel as plain `i32` because peers may send numbers that this release does not know;
//! the constants here are for sending and matching, the names for logs.

/// Declares a unit struct with one `i32` constant per code and a name look-up.
macro_rules! codes {
    ($(#[$meta:meta])* $kind:ident { $($number:literal $name:ident,)* }) => {
        $(#[$meta])*
        pub struct $kind;

        impl $kind {
            $(
                #[doc = concat!("Code ", $number, ".")]
                pub const $name: i32 = $number;
            )*

            /// Every code with its name, ascending.
            pub const ALL: &'static [(i32, &'static str)] = &[$(($number, stringify!($name)),)*];

            /// The name of `code`, if it is one of these.
            #[must_use]
            pub fn name(code: i32) -> Option<&'static str> {
                match code {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Request codes of RocketMQ 4.9, and the one code of 5.x clients that 4.9 brokers meet.
    RequestCode {
        10 SEND_MESSAGE,
        11 PULL_MESSAGE,
        12 QUERY_MESSAGE,
        13 QUERY_BROKER_OFFSET,
        14 QUERY_CONSUMER_OFFSET,
        15 UPDATE_CONSUMER_OFFSET,
        17 UPDATE_AND_CREATE_TOPIC,
        21 GET_ALL_TOPIC_CONFIG,
        22 GET_TOPIC_CONFIG_LIST,
        23 GET_TOPIC_NAME_LIST,
        25 UPDATE_BROKER_CONFIG,
        26 GET_BROKER_CONFIG,
        27 TRIGGER_DELETE_FILES,
        28 GET_BROKER_RUNTIME_INFO,
        29 SEARCH_OFFSET_BY_TIMESTAMP,
        30 GET_MAX_OFFSET,
        31 GET_MIN_OFFSET,
        32 GET_EARLIEST_MSG_STORETIME,
        33 VIEW_MESSAGE_BY_ID,
        34 HEART_BEAT,
        35 UNREGISTER_CLIENT,
        36 CONSUMER_SEND_MSG_BACK,
        37 END_TRANSACTION,
        38 GET_CONSUMER_LIST_BY_GROUP,
        39 CHECK_TRANSACTION_STATE,
        40 NOTIFY_CONSUMER_IDS_CHANGED,
        41 LOCK_BATCH_MQ,
        42 UNLOCK_BATCH_MQ,
        43 GET_ALL_CONSUMER_OFFSET,
        45 GET_ALL_DELAY_OFFSET,
        46 CHECK_CLIENT_CONFIG,
        50 UPDATE_AND_CREATE_ACL_CONFIG,
        51 DELETE_ACL_CONFIG,
        52 GET_BROKER_CLUSTER_ACL_INFO,
        53 UPDATE_GLOBAL_WHITE_ADDRS_CONFIG,
        54 GET_BROKER_CLUSTER_ACL_CONFIG,
        100 PUT_KV_CONFIG,
        101 GET_KV_CONFIG,
        102 DELETE_KV_CONFIG,
        103 REGISTER_BROKER,
        104 UNREGISTER_BROKER,
        105 GET_ROUTEINFO_BY_TOPIC,
        106 GET_BROKER_CLUSTER_INFO,
        200 UPDATE_AND_CREATE_SUBSCRIPTIONGROUP,
        201 GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
        202 GET_TOPIC_STATS_INFO,
        203 GET_CONSUMER_CONNECTION_LIST,
        204 GET_PRODUCER_CONNECTION_LIST,
        205 WIPE_WRITE_PERM_OF_BROKER,
        206 GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
        207 DELETE_SUBSCRIPTIONGROUP,
        208 GET_CONSUME_STATS,
        209 SUSPEND_CONSUMER,
        210 RESUME_CONSUMER,
        211 RESET_CONSUMER_OFFSET_IN_CONSUMER,
        212 RESET_CONSUMER_OFFSET_IN_BROKER,
        213 ADJUST_CONSUMER_THREAD_POOL,
        214 WHO_CONSUME_THE_MESSAGE,
        215 DELETE_TOPIC_IN_BROKER,
        216 DELETE_TOPIC_IN_NAMESRV,
        219 GET_KVLIST_BY_NAMESPACE,
        220 RESET_CONSUMER_CLIENT_OFFSET,
        221 GET_CONSUMER_STATUS_FROM_CLIENT,
        222 INVOKE_BROKER_TO_RESET_OFFSET,
        223 INVOKE_BROKER_TO_GET_CONSUMER_STATUS,
        224 GET_TOPICS_BY_CLUSTER,
        300 QUERY_TOPIC_CONSUME_BY_WHO,
        301 REGISTER_FILTER_SERVER,
        302 REGISTER_MESSAGE_FILTER_CLASS,
        303 QUERY_CONSUME_TIME_SPAN,
        304 GET_SYSTEM_TOPIC_LIST_FROM_NS,
        305 GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
        306 CLEAN_EXPIRED_CONSUMEQUEUE,
        307 GET_CONSUMER_RUNNING_INFO,
        308 QUERY_CORRECTION_OFFSET,
        309 CONSUME_MESSAGE_DIRECTLY,
        310 SEND_MESSAGE_V2,
        311 GET_UNIT_TOPIC_LIST,
        312 GET_HAS_UNIT_SUB_TOPIC_LIST,
        313 GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST,
        314 CLONE_GROUP_OFFSET,
        315 VIEW_BROKER_STATS_DATA,
        316 CLEAN_UNUSED_TOPIC,
        317 GET_BROKER_CONSUME_STATS,
        318 UPDATE_NAMESRV_CONFIG,
        319 GET_NAMESRV_CONFIG,
        320 SEND_BATCH_MESSAGE,
        321 QUERY_CONSUME_QUEUE,
        322 QUERY_DATA_VERSION,
        323 RESUME_CHECK_HALF_MESSAGE,
        324 SEND_REPLY_MESSAGE,
        325 SEND_REPLY_MESSAGE_V2,
        326 PUSH_REPLY_MESSAGE_TO_CLIENT,
        327 ADD_WRITE_PERM_OF_BROKER,
        328 GET_ALL_PRODUCER_INFO,
        329 DELETE_EXPIRED_COMMITLOG,
        361 LITE_PULL_MESSAGE,
    }
}

codes! {
    /// Response codes of RocketMQ 4.9.
    ResponseCode {
        0 SUCCESS,
        1 SYSTEM_ERROR,
        2 SYSTEM_BUSY,
        3 REQUEST_CODE_NOT_SUPPORTED,
        4 TRANSACTION_FAILED,
        10 FLUSH_DISK_TIMEOUT,
        11 SLAVE_NOT_AVAILABLE,
        12 FLUSH_SLAVE_TIMEOUT,
        13 MESSAGE_ILLEGAL,
        14 SERVICE_NOT_AVAILABLE,
        15 VERSION_NOT_SUPPORTED,
        16 NO_PERMISSION,
        17 TOPIC_NOT_EXIST,
        18 TOPIC_EXIST_ALREADY,
        19 PULL_NOT_FOUND,
        20 PULL_RETRY_IMMEDIATELY,
        21 PULL_OFFSET_MOVED,
        22 QUERY_NOT_FOUND,
        23 SUBSCRIPTION_PARSE_FAILED,
        24 SUBSCRIPTION_NOT_EXIST,
        25 SUBSCRIPTION_NOT_LATEST,
        26 SUBSCRIPTION_GROUP_NOT_EXIST,
        27 FILTER_DATA_NOT_EXIST,
        28 FILTER_DATA_NOT_LATEST,
        200 TRANSACTION_SHOULD_COMMIT,
        201 TRANSACTION_SHOULD_ROLLBACK,
        202 TRANSACTION_STATE_UNKNOW,
        203 TRANSACTION_STATE_GROUP_WRONG,
        204 NO_BUYER_ID,
        205 NOT_IN_CURRENT_UNIT,
        206 CONSUMER_NOT_ONLINE,
        207 CONSUME_MSG_TIMEOUT,
        208 NO_MESSAGE,
        209 UPDATE_AND_CREATE_ACL_CONFIG_FAILED,
        210 DELETE_ACL_CONFIG_FAILED,
        211 UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED,
        215 FLOW_CONTROL,
    }
}

codes! {
    /// Request codes of DLedger 0.3, between the peers of a group.
    DLedgerRequestCode {
        50000 METADATA,
        50001 APPEND,
        50002 GET,
        51001 VOTE,
        51002 HEART_BEAT,
        51003 PULL,
        51004 PUSH,
        51005 LEADERSHIP_TRANSFER,
    }
}

codes! {
    /// `code` of DLedger's bodies. The frame of a response always says 200.
    DLedgerResponseCode {
        200 SUCCESS,
        300 TIMEOUT,
        301 METADATA_ERROR,
        302 NETWORK_ERROR,
        303 UNSUPPORTED,
        400 UNKNOWN_GROUP,
        401 UNKNOWN_MEMBER,
        402 UNEXPECTED_MEMBER,
        403 EXPIRED_TERM,
        404 NOT_LEADER,
        405 NOT_FOLLOWER,
        406 INCONSISTENT_STATE,
        407 INCONSISTENT_TERM,
        408 INCONSISTENT_INDEX,
        409 INCONSISTENT_LEADER,
        410 INDEX_OUT_OF_RANGE,
        411 UNEXPECTED_ARGUMENT,
        412 REPEATED_REQUEST,
        413 REPEATED_PUSH,
        414 DISK_ERROR,
        415 DISK_FULL,
        416 TERM_NOT_READY,
        417 FALL_BEHIND_TOO_MUCH,
        418 TAKE_LEADERSHIP_FAILED,
        419 INDEX_LESS_THAN_LOCAL_BEGIN,
        420 REQUEST_WITH_EMPTY_BODYS,
        421 PUSH_REQUEST_IS_FULL,
        500 INTERNAL_ERROR,
        501 TERM_CHANGED,
        502 WAIT_QUORUM_ACK_TIMEOUT,
        503 LEADER_PENDING_FULL,
        504 ILLEGAL_MEMBER_STATE,
        505 LEADER_NOT_READY,
        506 LEADER_TRANSFERRING,
    }
}

/// The implementation language a command names; the wire carries its name (JSON header) or its
/// number (binary header). Languages this release does not know read as [`LanguageCode::Other`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LanguageCode {
    /// `JAVA`
    Java = 0,
    /// `CPP`
    Cpp = 1,
    /// `DOTNET`
    Dotnet = 2,
    /// `PYTHON`
    Python = 3,
    /// `DELPHI`
    Delphi = 4,
    /// `ERLANG`
    Erlang = 5,
    /// `RUBY`
    Ruby = 6,
    /// `OTHER`
    Other = 7,
    /// `HTTP`
    Http = 8,
    /// `GO`
    Go = 9,
    /// `PHP`
    Php = 10,
    /// `OMS`
    Oms = 11,
    /// `RUST`, what this implementation calls itself.
    #[default]
    Rust = 12,
}

impl LanguageCode {
    const ALL: [(LanguageCode, &'static str); 13] = [
        (LanguageCode::Java, "JAVA"),
        (LanguageCode::Cpp, "CPP"),
        (LanguageCode::Dotnet, "DOTNET"),
        (LanguageCode::Python, "PYTHON"),
        (LanguageCode::Delphi, "DELPHI"),
        (LanguageCode::Erlang, "ERLANG"),
        (LanguageCode::Ruby, "RUBY"),
        (LanguageCode::Other, "OTHER"),
        (LanguageCode::Http, "HTTP"),
        (LanguageCode::Go, "GO"),
        (LanguageCode::Php, "PHP"),
        (LanguageCode::Oms, "OMS"),
        (LanguageCode::Rust, "RUST"),
    ];

    /// The language with this number; unknown numbers give [`LanguageCode::Other`].
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index))
            .map_or(LanguageCode::Other, |(language, _)| *language)
    }

    /// The language with this upper-case name; unknown names give [`LanguageCode::Other`].
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map_or(LanguageCode::Other, |(language, _)| *language)
    }

    /// The upper-case name, as in the JSON header.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// Release numbers that peers put into `version` (RocketMQ 4.9 `MQVersion`: ordinals of a list in
/// which every release is preceded by its snapshot).
pub struct MqVersion;

impl MqVersion {
    /// 3.0.11: brokers below it register with a bare topic table.
    pub const V3_0_11: i32 = 37;
    /// 3.4.9: clients from it on carry `maxReconsumeTimes`.
    pub const V3_4_9: i32 = 121;
    /// 4.1.0-SNAPSHOT: brokers from it on serve SQL92 subscriptions.
    pub const V4_1_0_SNAPSHOT: i32 = 232;
    /// 4.9.4: clients from it on get standard JSON routes.
    pub const V4_9_4: i32 = 401;
    /// 4.9.7.
    pub const V4_9_7: i32 = 407;
    /// 4.9.8.
    pub const V4_9_8: i32 = 409;
    /// The release whose behaviour this engine has; sent with every command.
    pub const CURRENT: i32 = Self::V4_9_8;
    /// Name of [`MqVersion::CURRENT`], as in `brokerVersionDesc`.
    pub const CURRENT_NAME: &'static str = "V4_9_8";

    /// Ordinals of the irregular names before 3.0.1.
    const BEFORE_V3_0_1: [&'static str; 16] = [
        "SNAPSHOT",
        "ALPHA1",
        "BETA1",
        "BETA2",
        "BETA3",
        "BETA4",
        "BETA5",
        "BETA6_SNAPSHOT",
        "BETA6",
        "BETA7_SNAPSHOT",
        "BETA7",
        "BETA8_SNAPSHOT",
        "BETA8",
        "BETA9_SNAPSHOT",
        "BETA9",
        "FINAL",
    ];

    /// The name of a release, `V4_9_7` (RocketMQ 4.9 `MQVersion.getVersionDesc`); what is beyond 5.9.9 is
    /// `HIGHER_VERSION`, what is below 0 is taken for the first one.
    #[must_use]
    pub fn name(version: i32) -> String {
        let ordinal = version.max(0);
        if let Some(name) = Self::BEFORE_V3_0_1.get(ordinal as usize) {
            return format!("V3_0_0_{name}");
        }
        // A snapshot and a release of each. 3.0 went up to 15, 3.3 to 3.9 began with 1, all else has ten.
        let (major, minor, patch) = match ordinal {
            ..46 => (3, 0, (ordinal - 16) / 2 + 1),
            46..86 => (3, (ordinal - 46) / 20 + 1, (ordinal - 46) % 20 / 2),
            86..212 => (3, (ordinal - 86) / 18 + 3, (ordinal - 86) % 18 / 2 + 1),
            212..612 => {
                let release = (ordinal - 212) / 2;
                (4 + release / 100, release / 10 % 10, release % 10)
            }
            612.. => return "HIGHER_VERSION".to_owned(),
        };
        let snapshot = if ordinal % 2 == 0 { "_SNAPSHOT" } else { "" };
        format!("V{major}_{minor}_{patch}{snapshot}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(RequestCode::name(310), Some("SEND_MESSAGE_V2"));
        assert_eq!(RequestCode::name(9999), None);
        assert_eq!(ResponseCode::name(ResponseCode::PULL_OFFSET_MOVED), Some("PULL_OFFSET_MOVED"));
        assert!(RequestCode::ALL.is_sorted() && ResponseCode::ALL.is_sorted());
        for (version, name) in [
            (MqVersion::V3_0_11, "V3_0_11"),
            (MqVersion::V3_4_9, "V3_4_9"),
            (MqVersion::V4_1_0_SNAPSHOT, "V4_1_0_SNAPSHOT"),
            (MqVersion::V4_9_4, "V4_9_4"),
            (MqVersion::V4_9_7, "V4_9_7"),
            (MqVersion::CURRENT, MqVersion::CURRENT_NAME),
            (-1, "V3_0_0_SNAPSHOT"),
            (15, "V3_0_0_FINAL"),
            (45, "V3_0_15"),
            (46, "V3_1_0_SNAPSHOT"),
            (87, "V3_3_1"),
            (611, "V5_9_9"),
            (612, "HIGHER_VERSION"),
        ] {
            assert_eq!(MqVersion::name(version), name);
        }
        for (index, (language, name)) in LanguageCode::ALL.iter().enumerate() {
            assert_eq!(*language as usize, index);
            assert_eq!(LanguageCode::from_name(name), *language);
            assert_eq!(LanguageCode::from_number(index as i64), *language);
        }
        assert_eq!(LanguageCode::from_number(13), LanguageCode::Other);
        assert_eq!(LanguageCode::from_number(-1), LanguageCode::Other);
    }
}
