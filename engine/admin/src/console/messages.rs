//! Messages: found by id, key or time, and where one of them stands.

mod page;

use mq_protocol::message::{MessageConst, MessageExt, OffsetMessageId};
use serde::Serialize;

pub(super) use self::page::{MessagePage, Span, newest};
use super::listed::Listed;
use super::refusal::{Refusal, trouble};
use super::{Query, brokers, side_by_side};
use crate::commands::query_msg::{KEY_MAX_NUM, UNIQUE_KEY_MAX_NUM};
use crate::mq_admin_ext::{MessageTrack, MqAdminExt, select_broker_addrs};

/// Bytes of a body that are shown.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Groups that a message is held against.
const TRACKS_MAX: usize = 50;

/// A message in a list.
#[derive(Debug, Serialize)]
pub(super) struct MessageRow {
    id: String,
    /// The broker that has it, and where: what `one` asks for.
    address: String,
    offset: i64,
    topic: String,
    tags: Option<String>,
    keys: Option<String>,
    queue: i32,
    queue_offset: i64,
    stored_ms: i64,
    born_ms: i64,
    body_bytes: usize,
    reconsume_times: i32,
}

impl MessageRow {
    /// The message as the broker at `address` has it.
    pub(super) fn new(address: &str, it: &MessageExt) -> Self {
        let property = |name| it.message.properties.get(name).map(str::to_owned);
        MessageRow {
            id: it.msg_id(),
            address: address.to_owned(),
            offset: it.phy_offset,
            topic: it.message.topic.clone(),
            tags: property(MessageConst::TAGS),
            keys: property(MessageConst::KEYS),
            queue: it.queue_id,
            queue_offset: it.queue_offset,
            stored_ms: it.store_timestamp,
            born_ms: it.born_timestamp,
            body_bytes: it.message.body.len(),
            reconsume_times: it.reconsume_times,
        }
    }
}

/// Messages by `id`, by `topic` and `key`, or by `topic` and time (`begin`, `end` in ms, either may lack).
///
/// # Errors
/// When the query makes no sense, the topic has no route, or no name server answers.
pub(super) async fn found(admin: &MqAdminExt, query: Query<'_>) -> Result<MessagePage, Refusal> {
    if let Some(id) = query.optional("id") {
        if let Ok(place) = id.parse::<OffsetMessageId>() {
            return at_place(admin, &place).await;
        }
        return by_key(admin, query.required("topic")?, id, true).await;
    }
    let topic = query.required("topic")?;
    if let Some(key) = query.optional("key") {
        return by_key(admin, topic, key, false).await;
    }
    let span = Span { begin_ms: query.number("begin")?, end_ms: query.number("end")? };
    newest(admin, topic, span, query.page()?).await
}

/// The message whose id says where it is: the address in it is asked only if a broker is there.
async fn at_place(admin: &MqAdminExt, place: &OffsetMessageId) -> Result<MessagePage, Refusal> {
    let broker = brokers::known(admin, &place.store_host.to_string()).await?;
    let message = admin.view_message_at(&broker.addr, place.phy_offset).await?;
    Ok(MessagePage::of(vec![MessageRow::new(&broker.addr, &message)], vec![]))
}

/// The messages with a key, of all brokers of the topic, asked side by side.
async fn by_key(
    admin: &MqAdminExt,
    topic: &str,
    key: &str,
    is_unique: bool,
) -> Result<MessagePage, Refusal> {
    let max = if is_unique { UNIQUE_KEY_MAX_NUM } else { KEY_MAX_NUM };
    let route = admin.examine_topic_route_info(topic).await?;
    let ask = |addr: String| async move {
        let found = admin.query_message_of(&addr, topic, key, max, is_unique).await;
        (addr, found)
    };
    let answers = side_by_side(select_broker_addrs(&route), ask).await;
    let (mut rows, mut troubles) = (Vec::new(), Vec::new());
    let mut note = None;
    for (addr, found) in answers {
        troubles.extend(found.as_ref().err().map(trouble));
        let found = found.unwrap_or_default();
        if i32::try_from(found.len()).unwrap_or(i32::MAX) >= max {
            note =
                Some(format!("A broker is asked for {max} messages at most; there may be more."));
        }
        rows.extend(found.iter().map(|message| MessageRow::new(&addr, message)));
    }
    let mut page = MessagePage::of(rows, troubles);
    page.messages.note = note;
    Ok(page)
}

/// A message, and how it stands with each group.
#[derive(Debug, Serialize)]
pub(super) struct MessageDetail {
    #[serde(flatten)]
    row: MessageRow,
    offset_id: String,
    store_host: String,
    born_host: String,
    properties: Vec<Property>,
    body: Body,
    groups: Listed<Track>,
    troubles: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Property {
    name: String,
    value: String,
}

/// The front of a body as text.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Body {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Body {
    fn of(body: &[u8]) -> Self {
        let shown = &body[..body.len().min(BODY_BYTES_MAX)];
        let mut notes = Vec::new();
        if shown.len() < body.len() {
            notes.push(format!("The first {BODY_BYTES_MAX} of {} bytes.", body.len()));
        }
        // The cut itself may split a character: that is no fault of the body.
        let whole = std::str::from_utf8(body);
        if whole.is_err() {
            notes.push("It is not UTF-8: what is no text is shown as \u{fffd}.".to_owned());
        }
        let note = (!notes.is_empty()).then(|| notes.join(" "));
        Body { text: String::from_utf8_lossy(shown).into_owned(), note }
    }
}

#[derive(Debug, Serialize)]
struct Track {
    group: String,
    state: &'static str,
    reason: Option<String>,
}

impl From<MessageTrack> for Track {
    fn from(track: MessageTrack) -> Self {
        let MessageTrack { consumer_group, track_type, exception_desc } = track;
        Track { group: consumer_group, state: track_type.name(), reason: exception_desc }
    }
}

/// The message at a CommitLog offset (`offset`) of a broker (`address`).
///
/// # Errors
/// When there is no such broker or message, or it does not answer.
pub(super) async fn one(admin: &MqAdminExt, query: Query<'_>) -> Result<MessageDetail, Refusal> {
    let broker = brokers::known(admin, query.required("address")?).await?;
    let offset = query.number("offset")?.ok_or_else(|| lacks("offset"))?;
    let message = admin.view_message_at(&broker.addr, offset).await?;
    let mut troubles = Vec::new();
    let groups = match admin.query_topic_consume_by_who(&message.message.topic).await {
        Ok(groups) => groups,
        Err(error) => {
            troubles.push(format!("who consumes it is not known: {}", trouble(&error)));
            vec![]
        }
    };
    let groups = Listed::first_of(groups, TRACKS_MAX, "groups");
    let groups = groups
        .asked(|group| async { Track::from(admin.message_track(group, &message).await) })
        .await;
    let properties = message.message.properties.iter();
    let property =
        |(name, value): (&str, &str)| Property { name: name.to_owned(), value: value.to_owned() };
    Ok(MessageDetail {
        row: MessageRow::new(&broker.addr, &message),
        offset_id: message.offset_msg_id().to_string(),
        store_host: message.store_host.to_string(),
        born_host: message.born_host.to_string(),
        properties: properties.map(property).collect(),
        body: Body::of(&message.message.body),
        groups,
        troubles,
    })
}

fn lacks(name: &str) -> Refusal {
    Refusal::Input(format!("the query lacks {name}=…"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_shown_as_far_as_they_are_text() {
        assert_eq!(Body::of("größe".as_bytes()), Body { text: "größe".into(), note: None });
        let body = Body::of(b"a\xffb");
        assert_eq!(body.text, "a\u{fffd}b");
        assert!(body.note.unwrap().starts_with("It is not UTF-8"));
        let body = Body::of("ä".repeat(BODY_BYTES_MAX).as_bytes());
        assert_eq!(body.note.as_deref(), Some("The first 65536 of 131072 bytes."));
    }
}
