//! A server that only answers: what machine and protocol alone can do, beside which a broker's figures stand.

use std::io;

use bytes::BytesMut;
use mq_env::Env;
use mq_env::net::{Listener, Stream};
use mq_protocol::frame;
use mq_protocol::header::send_message::SendMessageResponseHeader;
use mq_protocol::remoting_command::RemotingCommand;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Read at a time.
const READ_BYTES: usize = 64 << 10;

/// Answers every request as if it had been a send, until the program ends.
///
/// # Errors
/// When the listener cannot accept.
pub async fn serve_echo(env: &Env, listener: &dyn Listener) -> io::Result<()> {
    loop {
        let stream = listener.accept().await?;
        env.tasks.spawn("echo", async move {
            let peer = stream.peer_addr();
            if let Err(error) = answer(stream).await {
                tracing::info!(%peer, %error, "connection ended");
            }
        });
    }
}

async fn answer(mut stream: Stream) -> io::Result<()> {
    let (mut incoming, mut outgoing) = (BytesMut::new(), BytesMut::new());
    loop {
        incoming.reserve(READ_BYTES);
        if stream.read_buf(&mut incoming).await? == 0 {
            return Ok(());
        }
        while let Some(request) = frame::decode(&mut incoming).map_err(io::Error::other)? {
            let header = SendMessageResponseHeader::default();
            frame::encode(&RemotingCommand::success(&header).reply_to(&request), &mut outgoing);
        }
        stream.write_all_buf(&mut outgoing).await?;
    }
}
