//! The keys of `NettyServerConfig` and `NettyClientConfig`: sockets.

use super::{ANY_INT, ANY_LONG, COUNT, LONG_SIZE, SIZE, TLS, UNREAD, row};
use crate::config::key::KeyStatus::{Accepted, Obeyed, Protects};
use crate::config::key::ValueType::{Bool, Int};
use crate::config::key::{ConfigKey, Field};

/// Setters of `NettyServerConfig`, in the order of that class. The two `writeBuffer` keys feed the
/// client class as well.
pub(super) static NETTY_SERVER: [ConfigKey; 14] = [
    row("listenPort", Int(3, 65_534), "10911", Obeyed(Field::U16(|s| &mut s.broker.listen_port))),
    row("serverWorkerThreads", ANY_INT, "8", Accepted),
    row("serverSelectorThreads", ANY_INT, "3", Accepted),
    row("serverOnewaySemaphoreValue", ANY_INT, "256", Accepted),
    row("serverCallbackExecutorThreads", ANY_INT, "0", Accepted),
    row("serverAsyncSemaphoreValue", ANY_INT, "64", Accepted),
    row(
        "serverChannelMaxIdleTimeSeconds",
        COUNT,
        "120",
        Obeyed(Field::U64(|s| &mut s.broker.server.channel_max_idle_seconds)),
    ),
    row("serverSocketSndBufSize", ANY_INT, "0", Accepted),
    row("serverSocketRcvBufSize", ANY_INT, "0", Accepted),
    row("serverSocketBacklog", ANY_INT, "1024", Accepted),
    row("serverPooledByteBufAllocatorEnable", Bool, "true", Accepted),
    row("useEpollNativeSelector", Bool, "false", Accepted),
    row("writeBufferLowWaterMark", ANY_INT, "0", Accepted),
    row("writeBufferHighWaterMark", ANY_INT, "0", Accepted),
];

/// What peers may make the server hold: this engine's own keys, see `RemotingServerConfig`.
pub(super) static SERVER_LIMITS: [ConfigKey; 8] = [
    row(
        "serverConnectionsMax",
        SIZE,
        "16384",
        Obeyed(Field::Usize(|s| &mut s.broker.server.connections_max)),
    ),
    row(
        "serverChannelOutHighWaterBytes",
        SIZE,
        "8388608",
        Obeyed(Field::Usize(|s| &mut s.broker.server.channel_out_high_water_bytes)),
    ),
    row(
        "serverChannelOutBytesMax",
        LONG_SIZE,
        "134217728",
        Obeyed(Field::Usize(|s| &mut s.broker.server.channel_out_bytes_max)),
    ),
    row(
        "serverOutBytesMax",
        LONG_SIZE,
        "268435456",
        Obeyed(Field::Usize(|s| &mut s.broker.server.out_bytes_max)),
    ),
    row(
        "serverPartialFrameBytesMax",
        LONG_SIZE,
        "268435456",
        Obeyed(Field::Usize(|s| &mut s.broker.server.partial_frame_bytes_max)),
    ),
    row(
        "serverBudgetPatienceMillis",
        COUNT,
        "5000",
        Obeyed(Field::U64(|s| &mut s.broker.server.budget_patience_ms)),
    ),
    row(
        "serverChannelRequestsInWorkMax",
        SIZE,
        "16384",
        Obeyed(Field::Usize(|s| &mut s.broker.server.channel_requests_in_work_max)),
    ),
    row(
        "serverChannelInWorkBytesMax",
        LONG_SIZE,
        "67108864",
        Obeyed(Field::Usize(|s| &mut s.broker.server.channel_in_work_bytes_max)),
    ),
];

/// Setters of `NettyClientConfig`, in the order of that class.
pub(super) static NETTY_CLIENT: [ConfigKey; 12] = [
    row("clientCloseSocketIfTimeout", Bool, "true", Accepted),
    row("clientWorkerThreads", ANY_INT, "4", Accepted),
    row("clientOnewaySemaphoreValue", ANY_INT, "65535", Accepted),
    row("connectTimeoutMillis", ANY_INT, "3000", Accepted),
    row("clientCallbackExecutorThreads", ANY_INT, "<processors>", Accepted),
    row("channelNotActiveInterval", ANY_LONG, "60000", UNREAD),
    row("clientAsyncSemaphoreValue", ANY_INT, "65535", Accepted),
    row("clientChannelMaxIdleTimeSeconds", ANY_INT, "120", Accepted),
    row("clientSocketSndBufSize", ANY_INT, "0", Accepted),
    row("clientSocketRcvBufSize", ANY_INT, "0", Accepted),
    row("clientPooledByteBufAllocatorEnable", Bool, "false", UNREAD),
    row("useTLS", Bool, "false", Protects(TLS)),
];
