//! Round trips, cuts and garbage.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codes::LanguageCode;
use crate::ext_fields::ExtFields;
use crate::steps;

fn frame_of(command: &RemotingCommand) -> BytesMut {
    let mut buf = BytesMut::new();
    encode(command, &mut buf);
    buf
}

fn arbitrary_command() -> impl Strategy<Value = RemotingCommand> {
    let fields = prop::option::of(prop::collection::vec((".{0,12}", any::<String>()), 0..6));
    (
        (any::<i16>(), 0i64..13, any::<i16>(), any::<i32>(), any::<i32>()),
        prop::option::of(any::<String>()),
        fields,
        prop::collection::vec(any::<u8>(), 0..64),
        any::<bool>(),
    )
        .prop_map(|((code, language, version, opaque, flag), remark, fields, body, binary)| {
            let mut command = RemotingCommand::response(i32::from(code), remark);
            command.language = LanguageCode::from_number(language);
            command.version = i32::from(version);
            command.opaque = opaque;
            command.flag = flag;
            command.body = Bytes::from(body);
            if let Some(fields) = fields {
                command.ext_fields =
                    fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            }
            if binary {
                command.serialize_type = SerializeType::RocketMq;
                // The binary form cannot tell these from their absence.
                command.remark = command.remark.filter(|remark| !remark.is_empty());
                if command.ext_fields.is_empty() {
                    command.ext_fields = ExtFields::absent();
                }
            }
            command
        })
}

proptest! {
    #[test]
    fn a_command_survives_the_wire(command in arbitrary_command()) {
        let mut buf = frame_of(&command);
        prop_assert_eq!(decode(&mut buf).unwrap(), Some(command));
        prop_assert!(buf.is_empty());
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_commands(
        commands in prop::collection::vec(arbitrary_command(), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut stream = BytesMut::new();
        commands.iter().for_each(|command| encode(command, &mut stream));
        let (head, tail) = stream.split_at(cut.index(stream.len()));
        let (mut buf, mut decoded) = (BytesMut::from(head), Vec::new());
        while let Some(command) = decode(&mut buf).unwrap() { decoded.push(command); }
        buf.extend_from_slice(tail);
        while let Some(command) = decode(&mut buf).unwrap() { decoded.push(command); }
        prop_assert_eq!(decoded, commands);
    }

    #[test]
    fn garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = decode(&mut BytesMut::from(&garbage[..]));
        for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
            let _ = decode_header(serialize_type, &garbage);
        }
    }

    #[test]
    fn a_damaged_frame_never_panics(
        command in arbitrary_command(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut buf = frame_of(&command);
        let at = at.index(buf.len());
        buf[at] = with;
        let _ = decode(&mut buf);
    }
}

#[test]
fn lengths_out_of_bounds_are_refused_before_the_bytes_arrive() {
    for length in [i32::MIN, -1, 0, 3, 16_777_213, i32::MAX] {
        let mut buf = BytesMut::from(&length.to_be_bytes()[..]);
        assert_eq!(decode(&mut buf), Err(FrameError::Length(length)));
    }
    let mut largest = BytesMut::from(&16_777_212i32.to_be_bytes()[..]);
    assert_eq!(decode(&mut largest), Ok(None));
}

#[test]
fn a_header_longer_than_its_frame_is_refused() {
    let mut buf = BytesMut::from(&[0, 0, 0, 6, 0, 0, 0, 3, b'{', b'}'][..]);
    let refused = FrameError::HeaderLength { header_bytes: 3, frame_bytes: 6 };
    assert_eq!(decode(&mut buf), Err(refused));
    let mut buf = BytesMut::from(&[0, 0, 0, 4, 2, 0, 0, 0][..]);
    assert_eq!(decode(&mut buf), Err(FrameError::SerializeType(2)));
}

#[test]
fn a_body_is_not_copied() {
    let command = RemotingCommand::request(11, &()).with_body(vec![7; 4096]);
    let mut buf = frame_of(&command);
    let body_address = buf[buf.len() - 4096..].as_ptr();
    let decoded = decode(&mut buf).unwrap().unwrap();
    assert_eq!(decoded.body.as_ptr(), body_address);
}

/// As the peer that sent 120,000 of them in 1.4 MB did.
#[test]
fn many_ext_fields_take_few_steps_in_both_serializations() {
    for serialize_type in [SerializeType::Json, SerializeType::RocketMq] {
        let frame = |fields: usize| {
            let mut command = RemotingCommand::request(105, &());
            command.serialize_type = serialize_type;
            let keys: Vec<_> = (0..fields).map(|n| format!("{n:06}")).collect();
            command.ext_fields = keys.iter().map(|key| (key.as_str(), "")).collect();
            frame_of(&command)
        };
        steps::assert_n_log_n(frame, |frame| {
            let command = decode(&mut frame.clone()).unwrap().unwrap();
            assert!(command.ext_fields.len() >= 2_000);
            // What a processor asks for is looked for a bounded number of times.
            command.header::<crate::header::send_message::SendMessageRequestHeader>().is_err()
        });
    }
}

/// A frame that was only announced takes no room; one that arrives has it before it needs it.
#[test]
fn room_is_made_as_a_frame_arrives() {
    let announced = [&(FRAME_BYTES_MAX as i32 - 4).to_be_bytes()[..], &[0; 8]].concat();
    let mut buf = BytesMut::from(&announced[..]);
    while buf.len() < FRAME_BYTES_MAX - 1 {
        assert_eq!(decode(&mut buf), Ok(None));
        let (held, room) = (buf.len(), buf.capacity());
        assert!(room <= (2 * held).max(ROOM_BYTES_MIN) + 64, "{room} for {held}");
        assert!(room > held, "no room at {held}");
        buf.resize(room.min(FRAME_BYTES_MAX - 1), 0);
    }
}
