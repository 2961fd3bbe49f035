//! What tools ask of the access control of brokers.

custom_header! {
    /// Header of UPDATE_AND_CREATE_ACL_CONFIG (50).
    CreateAccessConfigRequestHeader {
        /// The account.
        access_key: Option<String> = "accessKey",
        /// Its secret.
        secret_key: Option<String> = "secretKey",
        /// Addresses from which its requests need no signature.
        white_remote_address: Option<String> = "whiteRemoteAddress",
        /// Whether it may administer.
        admin: bool = "admin" or false,
        /// What it may do with a topic that is not named.
        default_topic_perm: Option<String> = "defaultTopicPerm",
        /// What it may do as a group that is not named.
        default_group_perm: Option<String> = "defaultGroupPerm",
        /// `topic=permission`, several split by commas.
        topic_perms: Option<String> = "topicPerms",
        /// `group=permission`, several split by commas.
        group_perms: Option<String> = "groupPerms",
    }

    /// Header of DELETE_ACL_CONFIG (51).
    DeleteAccessConfigRequestHeader {
        /// The account.
        access_key: String = "accessKey",
    }

    /// Header of the response to GET_BROKER_CLUSTER_ACL_INFO (52).
    GetBrokerAclConfigResponseHeader {
        /// `DataVersion` of the default file as JSON.
        version: String = "version",
        /// `DataVersion` per file as JSON.
        all_acl_file_version: String = "allAclFileVersion",
        /// Broker name.
        broker_name: String = "brokerName",
        /// Address for clients.
        broker_addr: String = "brokerAddr",
        /// Cluster.
        cluster_name: String = "clusterName",
    }

    /// Header of UPDATE_GLOBAL_WHITE_ADDRS_CONFIG (53).
    UpdateGlobalWhiteAddrsConfigRequestHeader {
        /// Patterns, split by commas.
        global_white_addrs: String = "globalWhiteAddrs",
        /// The file; the default one without it.
        acl_file_full_path: Option<String> = "aclFileFullPath",
    }
}
