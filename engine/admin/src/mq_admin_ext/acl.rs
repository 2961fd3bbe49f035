//! Requests about the access control of brokers.

use mq_protocol::body::acl::GetBrokerClusterAclConfigResponseBody;
use mq_protocol::codes::RequestCode;
use mq_protocol::header::acl::{
    CreateAccessConfigRequestHeader, DeleteAccessConfigRequestHeader,
    GetBrokerAclConfigResponseHeader, UpdateGlobalWhiteAddrsConfigRequestHeader,
};

use super::MqAdminExt;
use crate::error::AdminError;

impl MqAdminExt {
    /// Makes or changes an account (50).
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn create_and_update_plain_access_config(
        &self,
        addr: &str,
        header: &CreateAccessConfigRequestHeader,
    ) -> Result<(), AdminError> {
        self.tell(addr, RequestCode::UPDATE_AND_CREATE_ACL_CONFIG, header).await
    }

    /// Deletes an account (51).
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn delete_plain_access_config(
        &self,
        addr: &str,
        access_key: &str,
    ) -> Result<(), AdminError> {
        let header = DeleteAccessConfigRequestHeader { access_key: access_key.to_owned() };
        self.tell(addr, RequestCode::DELETE_ACL_CONFIG, &header).await
    }

    /// The versions of a broker's files of accounts (52).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn examine_broker_cluster_acl_version_info(
        &self,
        addr: &str,
    ) -> Result<GetBrokerAclConfigResponseHeader, AdminError> {
        self.ask_header(addr, RequestCode::GET_BROKER_CLUSTER_ACL_INFO, &()).await
    }

    /// Replaces the addresses whose requests need no signature (53).
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn update_global_white_addr_config(
        &self,
        addr: &str,
        header: &UpdateGlobalWhiteAddrsConfigRequestHeader,
    ) -> Result<(), AdminError> {
        self.tell(addr, RequestCode::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG, header).await
    }

    /// A broker's accounts (54).
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn examine_broker_cluster_acl_config(
        &self,
        addr: &str,
    ) -> Result<GetBrokerClusterAclConfigResponseBody, AdminError> {
        self.ask_body(addr, RequestCode::GET_BROKER_CLUSTER_ACL_CONFIG, &()).await
    }
}
