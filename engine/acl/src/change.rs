//! What operators change (50, 51, 53): the new text of a file.
//!
//! What the file says besides stays, with its order; its comments go, as in 4.9. What would not be read again is not
//! written.

use mq_protocol::body::topic_config::DataVersion;
use mq_protocol::header::acl::CreateAccessConfigRequestHeader;

use crate::account::resource;
use crate::file::{
    ACCESS_KEY, ACCOUNTS, ADMIN, AclFile, DATA_VERSION, DEFAULT_GROUP_PERM, DEFAULT_TOPIC_PERM,
    GLOBAL_WHITE_ADDRS, GROUP_PERMS, SECRET_KEY, TOPIC_PERMS, WHITE_ADDR,
};
use crate::permission::Permission;
use crate::yaml::{self, Item, Node};
use crate::{KEY_CHARS_MIN, RemoteAddresses};

/// Checks what is asked of an account (50), as 4.9 does before it looks at any file.
///
/// # Errors
/// 4.9's sentences, without the secret.
pub fn check_account(asked: &CreateAccessConfigRequestHeader) -> Result<(), String> {
    let is_long =
        |key: &Option<String>| key.as_ref().is_some_and(|it| it.chars().count() >= KEY_CHARS_MIN);
    if !is_long(&asked.access_key) || !is_long(&asked.secret_key) {
        return Err(format!(
            "The accessKey={} and secretKey cannot be null and length should longer than 6",
            asked.access_key.as_deref().unwrap_or("null")
        ));
    }
    for perms in [&asked.topic_perms, &asked.group_perms].into_iter().flatten() {
        for line in split(perms) {
            let (_, perm) = resource(line)?;
            known(line, perm)?;
        }
    }
    let defaults = [&asked.default_topic_perm, &asked.default_group_perm].into_iter().flatten();
    for perm in defaults.filter(|perm| !perm.is_empty()) {
        known(perm, perm)?;
    }
    RemoteAddresses::parse(asked.white_remote_address.as_deref().unwrap_or_default()).map(drop)
}

/// 4.9 writes whatever it is told, and denies.
fn known(line: &str, perm: &str) -> Result<(), String> {
    match Permission::parse(perm) {
        Some(_) => Ok(()),
        None => Err(format!("{line} is no permission; allowed: PUB, SUB, PUB|SUB, DENY")),
    }
}

impl AclFile {
    /// The text with account `asked` changed, or added. What is not asked of one that is there stays, but for whether it is an
    /// admin: that is always said.
    #[must_use]
    pub fn with_account(&self, asked: &CreateAccessConfigRequestHeader, now_ms: i64) -> String {
        let mut accounts = self.account_items();
        let name = asked.access_key.as_deref().unwrap_or_default();
        match accounts.iter_mut().find_map(|item| entries_of(item, name)) {
            Some(entries) => change(entries, asked),
            None => {
                let mut entries = vec![(ACCESS_KEY.to_owned(), Item::text(name))];
                change(&mut entries, asked);
                accounts.push(Item { line: 0, node: Node::Map(entries) });
            }
        }
        self.changed(ACCOUNTS, accounts, now_ms)
    }

    /// The text without account `access_key`; `None` if there is none.
    #[must_use]
    pub fn without_account(&self, access_key: &str, now_ms: i64) -> Option<String> {
        let mut accounts = self.account_items();
        let before = accounts.len();
        accounts.retain_mut(|item| entries_of(item, access_key).is_none());
        (accounts.len() < before).then(|| self.changed(ACCOUNTS, accounts, now_ms))
    }

    /// The text with these addresses whose requests need no signature.
    #[must_use]
    pub fn with_global_white_addrs<'a>(
        &self,
        addrs: impl IntoIterator<Item = &'a str>,
        now_ms: i64,
    ) -> String {
        let addrs = addrs.into_iter().map(Item::text).collect();
        self.changed(GLOBAL_WHITE_ADDRS, addrs, now_ms)
    }

    fn account_items(&self) -> Vec<Item> {
        let accounts = self.entries.iter().find(|(key, _)| key == ACCOUNTS);
        match accounts.map(|(_, item)| &item.node) {
            Some(Node::List(items)) => items.clone(),
            _ => Vec::new(),
        }
    }

    fn changed(&self, key: &str, items: Vec<Item>, now_ms: i64) -> String {
        let mut entries = self.entries.clone();
        put(&mut entries, key, Item { line: 0, node: Node::List(items) });
        let mut version = self.data_version.unwrap_or_default();
        version.next(now_ms);
        put(&mut entries, DATA_VERSION, version_item(version));
        yaml::write(&entries)
    }
}

fn version_item(version: DataVersion) -> Item {
    let entries = [("counter", version.counter), ("timestamp", version.timestamp)];
    let entries = entries.map(|(key, number)| (key.to_owned(), Item::plain(number)));
    let version = Item { line: 0, node: Node::Map(entries.into()) };
    Item { line: 0, node: Node::List(vec![version]) }
}

/// The entries of `item` if it is account `access_key`.
fn entries_of<'a>(item: &'a mut Item, access_key: &str) -> Option<&'a mut Vec<(String, Item)>> {
    let Node::Map(entries) = &mut item.node else { return None };
    let is_meant = entries.iter().any(|(key, value)| {
        let Node::Scalar { text, .. } = &value.node else { return false };
        key == ACCESS_KEY && text == access_key
    });
    is_meant.then_some(entries)
}

fn change(entries: &mut Vec<(String, Item)>, asked: &CreateAccessConfigRequestHeader) {
    let texts = [
        (SECRET_KEY, asked.secret_key.as_ref()),
        (WHITE_ADDR, asked.white_remote_address.as_ref()),
        (DEFAULT_TOPIC_PERM, asked.default_topic_perm.as_ref().filter(|it| !it.is_empty())),
        (DEFAULT_GROUP_PERM, asked.default_group_perm.as_ref().filter(|it| !it.is_empty())),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            put(entries, key, Item::text(text.trim()));
        }
    }
    put(entries, ADMIN, Item::plain(asked.admin));
    for (key, perms) in [(TOPIC_PERMS, &asked.topic_perms), (GROUP_PERMS, &asked.group_perms)] {
        if let Some(perms) = perms {
            put(entries, key, Item::texts(split(perms)));
        }
    }
}

/// Sets `key`: in place if it is there, else at the end.
fn put(entries: &mut Vec<(String, Item)>, key: &str, item: Item) {
    match entries.iter_mut().find(|(there, _)| there == key) {
        Some((_, there)) => *there = item,
        None => entries.push((key.to_owned(), item)),
    }
}

/// As Java splits: what is empty at the end is dropped, unless that is all there is.
pub fn split(list: &str) -> impl Iterator<Item = &str> {
    let kept = list.trim_end_matches(',');
    let kept = if kept.is_empty() && !list.is_empty() { None } else { Some(kept) };
    kept.into_iter().flat_map(|it| it.split(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "note: kept\naccounts:\n- accessKey: RocketMQ # lost\n  secretKey: 12345678\n  whiteRemoteAddress:\n  \
                        admin: false\n  topicPerms: [a=PUB]\n- accessKey: rocketmq2\n  secretKey: 12345678\n  admin: true\n";

    fn file(text: &str) -> AclFile {
        AclFile::parse(text.as_bytes()).expect(text)
    }

    fn asked() -> CreateAccessConfigRequestHeader {
        CreateAccessConfigRequestHeader {
            access_key: Some("RocketMQ".to_owned()),
            secret_key: Some("new secret".to_owned()),
            white_remote_address: None,
            admin: true,
            default_topic_perm: Some("PUB".to_owned()),
            default_group_perm: Some(String::new()),
            topic_perms: None,
            group_perms: Some("g=SUB,h=DENY".to_owned()),
        }
    }

    #[test]
    fn an_account_is_changed_in_place() {
        let changed = file(FILE).with_account(&asked(), 7);
        let wanted = "note: kept\naccounts:\n  - accessKey: RocketMQ\n    secretKey: \"new secret\"\n    \
                      whiteRemoteAddress:\n    admin: true\n    topicPerms:\n      - a=PUB\n    defaultTopicPerm: \
                      \"PUB\"\n    groupPerms:\n      - \"g=SUB\"\n      - \"h=DENY\"\n  - accessKey: rocketmq2\n    \
                      secretKey: 12345678\n    admin: true\ndataVersion:\n  - counter: 1\n    timestamp: 7\n";
        assert_eq!(changed, wanted);
        let again = file(&changed).with_account(&asked(), 9);
        assert_eq!(again, wanted.replace("counter: 1", "counter: 2").replace(": 7", ": 9"));
    }

    #[test]
    fn accounts_come_and_go() {
        let empty = AclFile::default();
        let one = file(&empty.with_account(&asked(), 1));
        assert_eq!(
            one.accounts().map(|it| it.access_key.as_str()).collect::<Vec<_>>(),
            ["RocketMQ"]
        );
        assert_eq!(one.without_account("nobody", 2), None);
        let none = file(&one.without_account("RocketMQ", 2).expect("it was there"));
        assert_eq!(none.accounts().count(), 0);
        assert_eq!(none.data_version(), Some(DataVersion { counter: 2, timestamp: 2 }));
        let white = file(&none.with_global_white_addrs(["10.0.0.*", "::1"], 3));
        assert_eq!(white.global_white_addrs().collect::<Vec<_>>(), ["10.0.0.*", "::1"]);
    }

    #[test]
    fn what_would_not_be_read_again_is_refused() {
        assert_eq!(check_account(&asked()), Ok(()));
        let refused = |edit: &dyn Fn(&mut CreateAccessConfigRequestHeader)| {
            let mut asked = asked();
            edit(&mut asked);
            check_account(&asked).expect_err("refused")
        };
        let short =
            "The accessKey=RocketMQ and secretKey cannot be null and length should longer than 6";
        assert_eq!(refused(&|it| it.secret_key = Some("123456".to_owned())), short);
        assert_eq!(refused(&|it| it.secret_key = None), short);
        assert!(refused(&|it| it.access_key = None).starts_with("The accessKey=null and"));
        let format = "Parse Resource format error for .\nThe expected resource format is 'Res=Perm'. For example: topicA=SUB";
        assert_eq!(refused(&|it| it.topic_perms = Some(String::new())), format);
        assert!(
            refused(&|it| it.topic_perms = Some("a=PUP".to_owned()))
                .starts_with("a=PUP is no permission")
        );
        assert!(
            refused(&|it| it.default_topic_perm = Some("ALL".to_owned()))
                .starts_with("ALL is no permission")
        );
        assert!(
            refused(&|it| it.white_remote_address = Some("1.2".to_owned())).contains("no address")
        );
    }

    #[test]
    fn lists_are_split_as_java_does() {
        let cases: [(&str, &[&str]); 5] =
            [("a,b", &["a", "b"]), ("a,,", &["a"]), (",a", &["", "a"]), ("", &[""]), (",,", &[])];
        for (list, wanted) in cases {
            assert_eq!(split(list).collect::<Vec<_>>(), wanted, "{list:?}");
        }
    }
}
