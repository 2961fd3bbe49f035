//! [`RawPeer`]: a connection that sends whatever bytes a test wants, and frames that no honest peer sends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use mq_protocol::frame;
use mq_protocol::remoting_command::RemotingCommand;

/// A peer that says nothing for this long has failed the test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A TCP connection without any manners.
pub struct RawPeer {
    stream: TcpStream,
    received: BytesMut,
}

impl RawPeer {
    /// Connects to `addr`.
    ///
    /// # Panics
    /// When nobody listens there.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a peer outside of the engine")]
    pub fn connect(addr: &str) -> Self {
        let stream = TcpStream::connect(addr).unwrap_or_else(|error| panic!("{addr}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        RawPeer { stream, received: BytesMut::new() }
    }

    /// Sends `bytes` as they are, for at most `patience`: a peer that is not read from cannot go on.
    ///
    /// # Errors
    /// When the other side has closed, or takes no more (`WouldBlock`).
    ///
    /// # Panics
    /// When `patience` is zero.
    pub fn send(&mut self, bytes: &[u8], patience: Duration) -> io::Result<()> {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        self.stream.write_all(bytes)
    }

    /// Sends a request and waits for the next frame.
    ///
    /// # Panics
    /// When the other side closes, or says nothing.
    pub fn ask(&mut self, request: &RemotingCommand) -> RemotingCommand {
        self.send(&frame_of(request), PATIENCE).unwrap();
        self.next_frame().expect("closed by the other side")
    }

    /// The next frame; `None` when the other side has closed.
    ///
    /// # Panics
    /// When it says nothing, or what is no frame.
    pub fn next_frame(&mut self) -> Option<RemotingCommand> {
        loop {
            if let Some(command) = frame::decode(&mut self.received).unwrap() {
                return Some(command);
            }
            let mut chunk = [0; 64 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return None,
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no frame: {error}"),
            }
        }
    }
}

/// The bytes of `command` on the wire.
#[must_use]
pub fn frame_of(command: &RemotingCommand) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame::encode(command, &mut bytes);
    bytes.to_vec()
}

/// A request in the binary serialization with `fields` ext fields of distinct keys and without values.
#[must_use]
pub fn frame_with_many_fields(code: i16, fields: usize) -> Vec<u8> {
    let mut header = Vec::new();
    header.put_i16(code);
    header.put_u8(0);
    header.put_i16(409);
    header.put_i32(1);
    header.put_i32(0);
    header.put_i32(0);
    header.put_i32((fields * 12) as i32);
    for n in 0..fields {
        header.put_i16(6);
        header.put_slice(format!("{n:06}").as_bytes());
        header.put_i32(0);
    }
    let mut frame = Vec::new();
    frame.put_i32(4 + header.len() as i32);
    frame.put_u32(1 << 24 | header.len() as u32);
    frame.put_slice(&header);
    frame
}

/// The beginning of a frame of `frame_bytes`, all but its last byte.
#[must_use]
pub fn unfinished_frame(frame_bytes: usize) -> Vec<u8> {
    let mut frame = vec![b' '; frame_bytes - 1];
    frame[..4].copy_from_slice(&(frame_bytes as i32 - 4).to_be_bytes());
    frame
}
