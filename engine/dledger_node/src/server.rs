//! What comes in by the peer port: requests of the others go to the host; clients of DLedger are answered here.

use std::collections::BTreeMap;
use std::sync::Arc;

use mq_protocol::body::dledger::{
    DLedgerAppendRequest, DLedgerAppendResponse, DLedgerBody, DLedgerGetRequest,
    DLedgerGetResponse, DLedgerMetadataResponse,
};
use mq_protocol::codes::{DLedgerRequestCode, DLedgerResponseCode};
use mq_protocol::fastjson::{from_slice, to_bytes};
use mq_protocol::remoting_command::RemotingCommand;
use mq_remoting::{
    Channel, ProcessError, ProcessOutcome, ProcessResult, ProcessorTable, RequestProcessor,
};
use tokio::sync::mpsc;

use crate::host::Input;
use crate::node::Shared;
use crate::wire::{self, Incoming, Refused};

/// Who answers which code.
pub(crate) fn processors(shared: &Arc<Shared>, host: &mpsc::Sender<Input>) -> ProcessorTable {
    let of_peers = OfPeers { shared: Arc::clone(shared), host: host.clone() };
    let of_clients = OfClients { shared: Arc::clone(shared), host: host.clone() };
    ProcessorTable::default()
        .register(
            &[
                DLedgerRequestCode::VOTE,
                DLedgerRequestCode::HEART_BEAT,
                DLedgerRequestCode::PUSH,
                DLedgerRequestCode::LEADERSHIP_TRANSFER,
                DLedgerRequestCode::PULL,
            ],
            Arc::new(of_peers),
        )
        .register(
            &[DLedgerRequestCode::METADATA, DLedgerRequestCode::APPEND, DLedgerRequestCode::GET],
            Arc::new(of_clients),
        )
}

struct OfPeers {
    shared: Arc<Shared>,
    host: mpsc::Sender<Input>,
}

impl RequestProcessor for OfPeers {
    fn process(&self, channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let Incoming { message, entries } =
            match wire::decode_request(&self.shared.members, &request) {
                Ok(incoming) => incoming,
                Err(Refused::Code(code)) => return Ok(wire::refusal(code).into()),
                Err(Refused::Json(error)) => return Err(ProcessError::system(error.to_string())),
            };
        let is_full = || Ok(wire::refusal(DLedgerResponseCode::PUSH_REQUEST_IS_FULL).into());
        let queued = self.shared.enter_pushed(&entries);
        if queued.is_none() && !entries.is_empty() {
            return is_full();
        }
        let responder = Some(channel.responder(&request));
        match self.host.try_send(Input::Received { message, entries, responder, queued }) {
            Ok(()) => Ok(ProcessOutcome::Silent),
            Err(_) => is_full(),
        }
    }
}

struct OfClients {
    shared: Arc<Shared>,
    host: mpsc::Sender<Input>,
}

impl RequestProcessor for OfClients {
    fn process(&self, _channel: &Channel, request: RemotingCommand) -> ProcessResult {
        let base: DLedgerBody = from_slice(&request.body)?;
        if base.group.as_deref() != Some(&self.shared.members.group) {
            return Ok(wire::refusal(DLedgerResponseCode::UNKNOWN_GROUP).into());
        }
        match request.code {
            DLedgerRequestCode::METADATA => Ok(self.metadata(base).into()),
            DLedgerRequestCode::GET => Ok(self.get(base, &from_slice(&request.body)?).into()),
            _ => {
                let append: DLedgerAppendRequest = from_slice(&request.body)?;
                Ok(self.append_later(base, append))
            }
        }
    }
}

impl OfClients {
    fn metadata(&self, asked: DLedgerBody) -> RemotingCommand {
        let shared = &self.shared;
        let status = shared.status.get();
        let peers: BTreeMap<String, String> = shared
            .members
            .all()
            .map(|(_, name, addr)| (name.to_owned(), addr.to_owned()))
            .collect();
        wire::answer(to_bytes(&DLedgerMetadataResponse {
            code: DLedgerResponseCode::SUCCESS,
            group: asked.group,
            leader_id: status.leader_id,
            local_id: asked.local_id,
            peers,
            remote_id: asked.remote_id,
            term: status.term,
        }))
    }

    /// A committed entry; DLedger's leader alone gives any.
    fn get(&self, asked: DLedgerBody, request: &DLedgerGetRequest) -> RemotingCommand {
        let shared = &self.shared;
        let status = shared.status.get();
        let index = request.begin_index.unwrap_or(-1);
        let is_committed = index <= shared.committed.read(|committed| committed.index);
        let (code, entries) = if !status.is_ready {
            (DLedgerResponseCode::NOT_LEADER, Vec::new())
        } else if let Ok(entry) = shared.log.entry(index)
            && is_committed
        {
            (DLedgerResponseCode::SUCCESS, vec![wire::entry_body(&entry)])
        } else {
            (DLedgerResponseCode::INDEX_OUT_OF_RANGE, Vec::new())
        };
        wire::answer(to_bytes(&DLedgerGetResponse {
            code,
            entries,
            group: asked.group,
            leader_id: status.leader_id,
            local_id: asked.local_id,
            remote_id: asked.remote_id,
            term: status.term,
        }))
    }

    fn append_later(&self, asked: DLedgerBody, request: DLedgerAppendRequest) -> ProcessOutcome {
        let (shared, host) = (Arc::clone(&self.shared), self.host.clone());
        ProcessOutcome::later(async move {
            let bodies = vec![request.body.0.to_vec()];
            let appended = match shared.propose(&host, bodies, None, None) {
                Ok(pending) => pending.committed().await,
                Err(error) => Err(error),
            };
            let status = shared.status.get();
            let at = appended.as_ref().ok().and_then(|appended| appended.first());
            let code =
                appended.as_ref().err().map_or(DLedgerResponseCode::SUCCESS, |error| error.code());
            let response = DLedgerAppendResponse {
                code,
                group: asked.group,
                index: at.map_or(-1, |at| at.index),
                leader_id: status.leader_id,
                local_id: asked.local_id,
                pos: at.map_or(-1, |at| at.pos as i64),
                remote_id: asked.remote_id,
                term: status.term,
            };
            Ok(Some(wire::answer(to_bytes(&response))))
        })
    }
}
