//! Ends of transactions (37) and questions about them (39, 323).

custom_header! {
    /// Header of END_TRANSACTION (37).
    EndTransactionRequestHeader {
        /// Producer group.
        producer_group: String = "producerGroup",
        /// Queue offset of the half message.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        commit_log_offset: i64 = "commitLogOffset",
        /// [`MessageSysFlag`](crate::sys_flag::MessageSysFlag) transaction bits: 0 unknown,
        /// 8 commit, 12 rollback.
        commit_or_rollback: i32 = "commitOrRollback",
        /// Whether this answers CHECK_TRANSACTION_STATE.
        from_transaction_check: bool = "fromTransactionCheck" or false,
        /// The message's `UNIQ_KEY`.
        msg_id: String = "msgId",
        /// Transaction id.
        transaction_id: Option<String> = "transactionId",
        /// Broker name, from clients of 4.9.5 on.
        broker_name: Option<String> = "bname",
    }

    /// Header of CHECK_TRANSACTION_STATE (39).
    CheckTransactionStateRequestHeader {
        /// Queue offset of the half message.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        commit_log_offset: i64 = "commitLogOffset",
        /// The message's `UNIQ_KEY`.
        msg_id: Option<String> = "msgId",
        /// Transaction id.
        transaction_id: Option<String> = "transactionId",
        /// Offset message id of the half message.
        offset_msg_id: Option<String> = "offsetMsgId",
    }

    /// Header of RESUME_CHECK_HALF_MESSAGE (323).
    ResumeCheckHalfMessageRequestHeader {
        /// Offset message id.
        msg_id: Option<String> = "msgId",
    }
}
