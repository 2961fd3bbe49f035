//! Accounts of the plain access control (response to 54).

json_body! {
    /// One account as operators write it. Its `Debug` shows the secret: it belongs into no log.
    #[derive(Eq)]
    PlainAccessConfig {
        /// The name.
        access_key: String = "accessKey",
        /// Whether it may administer.
        admin: bool = "admin",
        /// What it may do as a group that is not named.
        default_group_perm: Option<String> = "defaultGroupPerm",
        /// What it may do with a topic that is not named.
        default_topic_perm: Option<String> = "defaultTopicPerm",
        /// `group=permission` each.
        group_perms: Option<Vec<String>> = "groupPerms",
        /// What proves the name.
        secret_key: String = "secretKey",
        /// `topic=permission` each.
        topic_perms: Option<Vec<String>> = "topicPerms",
        /// Addresses from which its requests need no signature.
        white_remote_address: Option<String> = "whiteRemoteAddress",
    }

    /// Response to GET_BROKER_CLUSTER_ACL_CONFIG (54).
    #[derive(Eq)]
    GetBrokerClusterAclConfigResponseBody {
        /// Addresses whose requests need no signature.
        global_white_addrs: Vec<String> = "globalWhiteAddrs",
        /// Every account.
        plain_access_configs: Vec<PlainAccessConfig> = "plainAccessConfigs",
    }
}
