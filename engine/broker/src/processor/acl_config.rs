//! [`AclConfigProcessor`]: accounts and their versions, shown and changed (50 to 54), for administrators (RocketMQ 4.9
//! `AdminBrokerProcessor`).

use std::sync::Arc;

use mq_protocol::codes::{RequestCode, ResponseCode};
use mq_protocol::fastjson::{Json, to_bytes};
use mq_protocol::header::acl::{
    DeleteAccessConfigRequestHeader, GetBrokerAclConfigResponseHeader,
    UpdateGlobalWhiteAddrsConfigRequestHeader,
};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{Channel, ProcessError, ProcessOutcome, ProcessResult, RequestProcessor};

use super::empty_success;
use crate::acl_service::AclService;
use crate::context::BrokerContext;

/// What 4.9 answers with a null pointer, or not at all.
const NO_ACL: &str = "the broker has no access control: aclEnable is false";

/// Answers what concerns accounts.
pub(super) struct AclConfigProcessor {
    context: Arc<BrokerContext>,
}

impl AclConfigProcessor {
    pub(super) fn new(context: Arc<BrokerContext>) -> Self {
        AclConfigProcessor { context }
    }

    fn acl(&self, code: i32) -> Result<Arc<AclService>, ProcessError> {
        self.context.acl.clone().ok_or_else(|| ProcessError::new(code, NO_ACL))
    }

    fn update_account(&self, request: &RemotingCommand) -> ProcessResult {
        const FAILED: i32 = ResponseCode::UPDATE_AND_CREATE_ACL_CONFIG_FAILED;
        let (acl, asked) = (self.acl(FAILED)?, request.header()?);
        Ok(ProcessOutcome::later(async move {
            acl.update_account(&asked).await.map_err(|why| ProcessError::new(FAILED, why))?;
            Ok(Some(success()))
        }))
    }

    fn delete_account(&self, request: &RemotingCommand) -> ProcessResult {
        const FAILED: i32 = ResponseCode::DELETE_ACL_CONFIG_FAILED;
        let acl = self.acl(FAILED)?;
        let DeleteAccessConfigRequestHeader { access_key } = request.header()?;
        Ok(ProcessOutcome::later(async move {
            let deleted = acl.delete_account(&access_key).await;
            if deleted.map_err(|why| ProcessError::new(FAILED, why))? {
                return Ok(Some(success()));
            }
            let remark = format!(
                "The accesskey[{access_key}] corresponding to accessConfig has been deleted failed."
            );
            Err(ProcessError::new(FAILED, remark))
        }))
    }

    fn update_global_white_addrs(&self, request: &RemotingCommand) -> ProcessResult {
        const FAILED: i32 = ResponseCode::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG_FAILED;
        let acl = self.acl(FAILED)?;
        let UpdateGlobalWhiteAddrsConfigRequestHeader {
            global_white_addrs: addrs,
            acl_file_full_path,
        } = request.header()?;
        Ok(ProcessOutcome::later(async move {
            let updated =
                acl.update_global_white_addrs(&addrs, acl_file_full_path.as_deref()).await;
            if updated.map_err(|why| ProcessError::new(FAILED, why))? {
                return Ok(Some(success()));
            }
            let remark = format!("The globalWhiteAddresses[{addrs}] has been updated failed.");
            Err(ProcessError::new(FAILED, remark))
        }))
    }

    fn versions(&self, acl: &AclService) -> RemotingCommand {
        let (version, all) = acl.versions();
        let identity = self.context.outer_api.identity();
        RemotingCommand::success(&GetBrokerAclConfigResponseHeader {
            version: json(&version),
            all_acl_file_version: json(&all),
            broker_name: identity.broker_name.clone(),
            broker_addr: identity.broker_addr.clone(),
            cluster_name: identity.cluster_name.clone(),
        })
    }
}

impl RequestProcessor for AclConfigProcessor {
    fn process(&self, _: &Channel, request: RemotingCommand) -> ProcessResult {
        match request.code {
            RequestCode::UPDATE_AND_CREATE_ACL_CONFIG => self.update_account(&request),
            RequestCode::DELETE_ACL_CONFIG => self.delete_account(&request),
            RequestCode::UPDATE_GLOBAL_WHITE_ADDRS_CONFIG => {
                self.update_global_white_addrs(&request)
            }
            RequestCode::GET_BROKER_CLUSTER_ACL_INFO => {
                let acl = self.acl(ResponseCode::SYSTEM_ERROR)?;
                Ok(self.versions(&acl).into())
            }
            _ => {
                let acl = self.acl(ResponseCode::SYSTEM_ERROR)?;
                Ok(empty_success().with_body(to_bytes(&acl.config())).into())
            }
        }
    }
}

fn success() -> RemotingCommand {
    RemotingCommand::response(ResponseCode::SUCCESS, None)
}

fn json(value: &impl Json) -> String {
    String::from_utf8_lossy(&to_bytes(value)).into_owned()
}
