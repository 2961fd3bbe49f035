//! [`AclFile`]: one file of accounts, `plain_acl.yml` or another one under `conf/acl`.

use std::fmt;

use mq_protocol::body::acl::PlainAccessConfig;
use mq_protocol::body::topic_config::DataVersion;

use crate::FILE_BYTES_MAX;
use crate::account::Account;
use crate::address::RemoteAddresses;
use crate::yaml::{self, Item, Node};

pub(crate) const GLOBAL_WHITE_ADDRS: &str = "globalWhiteRemoteAddresses";
pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const DATA_VERSION: &str = "dataVersion";
pub(crate) const ACCESS_KEY: &str = "accessKey";
pub(crate) const SECRET_KEY: &str = "secretKey";
pub(crate) const WHITE_ADDR: &str = "whiteRemoteAddress";
pub(crate) const ADMIN: &str = "admin";
pub(crate) const DEFAULT_TOPIC_PERM: &str = "defaultTopicPerm";
pub(crate) const DEFAULT_GROUP_PERM: &str = "defaultGroupPerm";
pub(crate) const TOPIC_PERMS: &str = "topicPerms";
pub(crate) const GROUP_PERMS: &str = "groupPerms";

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AclFileError {
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    /// The sentence without a full stop.
    pub text: String,
}

impl fmt::Display for AclFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

impl AclFileError {
    pub(crate) fn new(line: usize, text: impl Into<String>) -> Self {
        AclFileError { line, text: text.into() }
    }
}

/// What a file says. Two are equal if they have the same text but for comments.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct AclFile {
    /// As written, to be written again.
    pub(crate) entries: Vec<(String, Item)>,
    pub(crate) white_addrs: Vec<(String, RemoteAddresses)>,
    pub(crate) accounts: Vec<(PlainAccessConfig, Account)>,
    pub(crate) data_version: Option<DataVersion>,
    pub(crate) warnings: Vec<String>,
}

/// Its secrets are in no log.
impl fmt::Debug for AclFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AclFile").field("accounts", &self.accounts.len()).finish_non_exhaustive()
    }
}

impl AclFile {
    /// Reads a file; one without a value has no accounts.
    ///
    /// # Errors
    /// The first thing that cannot be used, with its line.
    pub fn parse(content: &[u8]) -> Result<Self, AclFileError> {
        if content.len() > FILE_BYTES_MAX {
            let text =
                format!("the file has {} bytes, at most {FILE_BYTES_MAX} are read", content.len());
            return Err(AclFileError::new(0, text));
        }
        let text = std::str::from_utf8(content).map_err(|error| {
            let line = content[..error.valid_up_to()].iter().filter(|it| **it == b'\n').count() + 1;
            AclFileError::new(line, "the file is not UTF-8")
        })?;
        let mut file = AclFile::default();
        let Some(root) = yaml::parse(text)? else { return Ok(file) };
        let Node::Map(entries) = root.node else {
            let text =
                format!("the file is no map; it has the keys {GLOBAL_WHITE_ADDRS} and {ACCOUNTS}");
            return Err(AclFileError::new(root.line, text));
        };
        for (key, item) in &entries {
            match key.as_str() {
                GLOBAL_WHITE_ADDRS => file.read_white_addrs(item)?,
                ACCOUNTS => file.read_accounts(item)?,
                DATA_VERSION => file.data_version = data_version(item)?,
                _ => file.warnings.push(format!(
                    "line {}: {key} has no meaning; {GLOBAL_WHITE_ADDRS} and {ACCOUNTS} have",
                    item.line
                )),
            }
        }
        file.entries = entries;
        Ok(file)
    }

    /// What is taken otherwise than it may be meant, in sentences.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The version that the file says it has.
    #[must_use]
    pub fn data_version(&self) -> Option<DataVersion> {
        self.data_version
    }

    /// Addresses whose requests need no signature, as written.
    pub fn global_white_addrs(&self) -> impl Iterator<Item = &str> {
        self.white_addrs.iter().map(|(text, _)| text.as_str())
    }

    /// The accounts as written.
    pub fn accounts(&self) -> impl Iterator<Item = &PlainAccessConfig> {
        self.accounts.iter().map(|(config, _)| config)
    }

    fn read_white_addrs(&mut self, item: &Item) -> Result<(), AclFileError> {
        for item in list(GLOBAL_WHITE_ADDRS, item)? {
            let Some(text) = text(GLOBAL_WHITE_ADDRS, item)? else { continue };
            let addrs = RemoteAddresses::parse(&text).map_err(|error| {
                AclFileError::new(item.line, format!("{GLOBAL_WHITE_ADDRS}: {error}"))
            })?;
            if addrs.contain_every() {
                self.warnings.push(format!(
                    "line {}: {GLOBAL_WHITE_ADDRS} names every address: nobody is asked for anything",
                    item.line
                ));
            }
            self.white_addrs.push((text, addrs));
        }
        Ok(())
    }

    fn read_accounts(&mut self, item: &Item) -> Result<(), AclFileError> {
        for item in list(ACCOUNTS, item)? {
            let at = |text| AclFileError::new(item.line, text);
            let config = account(item)?;
            let mut warn = |text| self.warnings.push(format!("line {}: {text}", item.line));
            let account = Account::new(&config, &mut warn).map_err(at)?;
            if account.white.contain_every() {
                let name = &config.access_key;
                warn(format!(
                    "{WHITE_ADDR} of {name} names every address: its name alone lets everybody in"
                ));
            }
            self.accounts.push((config, account));
        }
        Ok(())
    }
}

fn account(item: &Item) -> Result<PlainAccessConfig, AclFileError> {
    let Node::Map(entries) = &item.node else {
        return Err(AclFileError::new(
            item.line,
            format!("an account is a map that begins with {ACCESS_KEY}"),
        ));
    };
    let mut config = PlainAccessConfig::default();
    for (key, value) in entries {
        match key.as_str() {
            ACCESS_KEY => config.access_key = text(key, value)?.unwrap_or_default(),
            SECRET_KEY => config.secret_key = text(key, value)?.unwrap_or_default(),
            WHITE_ADDR => config.white_remote_address = text(key, value)?,
            ADMIN => config.admin = truth(key, value)?,
            DEFAULT_TOPIC_PERM => config.default_topic_perm = text(key, value)?,
            DEFAULT_GROUP_PERM => config.default_group_perm = text(key, value)?,
            TOPIC_PERMS => config.topic_perms = texts(key, value)?,
            GROUP_PERMS => config.group_perms = texts(key, value)?,
            _ => {
                let text = format!(
                    "{key} is nothing that an account has; allowed: {ACCESS_KEY}, {SECRET_KEY}, {WHITE_ADDR}, \
                     {ADMIN}, {DEFAULT_TOPIC_PERM}, {DEFAULT_GROUP_PERM}, {TOPIC_PERMS}, {GROUP_PERMS}"
                );
                return Err(AclFileError::new(value.line, text));
            }
        }
    }
    Ok(config)
}

/// A list, or nothing.
fn list<'a>(key: &str, item: &'a Item) -> Result<&'a [Item], AclFileError> {
    match &item.node {
        Node::List(items) => Ok(items),
        _ if item.is_null() => Ok(&[]),
        _ => {
            Err(AclFileError::new(item.line, format!("{key} is a list, one item a line behind -")))
        }
    }
}

fn texts(key: &str, item: &Item) -> Result<Option<Vec<String>>, AclFileError> {
    if item.is_null() {
        return Ok(None);
    }
    let items = list(key, item)?.iter().map(|item| text(key, item));
    let texts: Result<Vec<Option<String>>, AclFileError> = items.collect();
    Ok(Some(texts?.into_iter().flatten().collect()))
}

/// A text, or nothing. 4.9 has its library read a bare `0123` as a number, and then takes its decimal digits: whatever
/// is not a text for it must be in quotes, or the two would not have the same secret.
fn text(key: &str, item: &Item) -> Result<Option<String>, AclFileError> {
    let Node::Scalar { text, is_plain } = &item.node else {
        return Err(AclFileError::new(item.line, format!("{key} is a text")));
    };
    if item.is_null() {
        return Ok(None);
    }
    if *is_plain && means_something_else(text) {
        let text = format!(
            "{key} is a number in a form that RocketMQ reads as another text: put it in quotes"
        );
        return Err(AclFileError::new(item.line, text));
    }
    Ok(Some(text.clone()))
}

/// Numbers of YAML 1.1 that are not written as Java would print them: `012`, `1_000`, `0x1F`, `+7`, `1e5`, `12:30:00`.
fn means_something_else(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = digits.starts_with(|it: char| it.is_ascii_digit() || it == '.')
        && digits
            .chars()
            .all(|it| it.is_ascii_hexdigit() || matches!(it, '_' | '.' | ':' | 'x' | '+' | '-'));
    let has_letters = digits.chars().any(|it| it.is_ascii_alphabetic());
    if !is_number || digits.matches('.').count() > 1 {
        return false; // A text for both, such as an address.
    }
    let is_exponent = || {
        let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "-"));
        let is_decimal =
            |it: &str| it.chars().all(|it| it.is_ascii_digit() || matches!(it, '.' | '+' | '-'));
        is_decimal(mantissa)
            && is_decimal(exponent)
            && exponent.ends_with(|it: char| it.is_ascii_digit())
    };
    if has_letters {
        return digits.starts_with("0x") || digits.starts_with("0b") || is_exponent();
    }
    let is_canonical = digits == "0" || !digits.starts_with('0');
    !is_canonical || text.starts_with('+') || digits.contains(['_', '.', ':'])
}

/// A truth value of YAML 1.1, or nothing.
fn truth(key: &str, item: &Item) -> Result<bool, AclFileError> {
    let lower = match &item.node {
        Node::Scalar { text, .. } => text.to_ascii_lowercase(),
        _ => "a list".to_owned(),
    };
    match lower.as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ if item.is_null() => Ok(false),
        _ => Err(AclFileError::new(item.line, format!("{key} is neither true nor false"))),
    }
}

/// A list of one version.
fn data_version(item: &Item) -> Result<Option<DataVersion>, AclFileError> {
    let Some(first) = list(DATA_VERSION, item)?.first() else { return Ok(None) };
    let Node::Map(entries) = &first.node else {
        return Err(AclFileError::new(
            first.line,
            format!("{DATA_VERSION} has counter and timestamp"),
        ));
    };
    let mut version = DataVersion::default();
    for (key, value) in entries {
        let Node::Scalar { text, .. } = &value.node else { continue };
        let number = text.parse::<i64>();
        let number = number.map_err(|_| {
            AclFileError::new(value.line, format!("{key} of {DATA_VERSION} is no whole number"))
        })?;
        match key.as_str() {
            "counter" => version.counter = number,
            "timestamp" => version.timestamp = number,
            _ => {}
        }
    }
    Ok(Some(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "globalWhiteRemoteAddresses:\n- 10.10.103.*\n- ''\n\naccounts:\n- accessKey: RocketMQ\n  \
                        secretKey: 12345678\n  whiteRemoteAddress:\n  admin: false\n  defaultTopicPerm: DENY\n  \
                        defaultGroupPerm: SUB\n  topicPerms:\n  - topicA=DENY\n  - topicB=PUB|SUB\n  groupPerms:\n  \
                        # comment\n  - groupA=DENY\n\n- accessKey: rocketmq2\n  secretKey: \"12345678\"\n  \
                        whiteRemoteAddress: 192.168.1.*\n  admin: yes\n";

    fn error(text: &str) -> String {
        AclFile::parse(text.as_bytes()).expect_err(text).to_string()
    }

    fn account_with(line: &str) -> String {
        format!("accounts:\n- accessKey: RocketMQ\n  secretKey: 12345678\n  {line}\n")
    }

    #[test]
    fn a_file_of_the_distribution_is_read() {
        let file = AclFile::parse(FILE.as_bytes()).expect("a file");
        assert_eq!(file.global_white_addrs().collect::<Vec<_>>(), ["10.10.103.*", ""]);
        let [first, second] = &file.accounts().collect::<Vec<_>>()[..] else {
            panic!("two accounts")
        };
        let wanted = PlainAccessConfig {
            access_key: "RocketMQ".to_owned(),
            secret_key: "12345678".to_owned(),
            default_topic_perm: Some("DENY".to_owned()),
            default_group_perm: Some("SUB".to_owned()),
            topic_perms: Some(vec!["topicA=DENY".to_owned(), "topicB=PUB|SUB".to_owned()]),
            group_perms: Some(vec!["groupA=DENY".to_owned()]),
            ..Default::default()
        };
        assert_eq!(**first, wanted);
        assert!(second.admin && second.secret_key == "12345678" && second.topic_perms.is_none());
        assert!(file.warnings().is_empty() && file.data_version().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_said_with_its_line() {
        assert_eq!(
            error("- a"),
            "line 1: the file is no map; it has the keys globalWhiteRemoteAddresses and accounts"
        );
        assert_eq!(error("accounts: x"), "line 1: accounts is a list, one item a line behind -");
        assert!(
            error("globalWhiteRemoteAddresses:\n- 1.2.3\n")
                .starts_with("line 2: globalWhiteRemoteAddresses: \"1.2.3\" is no address")
        );
        let short = error("accounts:\n- accessKey: RocketMQ\n  secretKey: 123456\n");
        assert_eq!(
            short,
            "line 2: the secretKey of account \"RocketMQ\" is missing or has fewer than 7 characters"
        );
        assert!(
            error("accounts:\n- secretKey: 12345678\n")
                .contains("the accessKey of account \"\" is missing")
        );
        assert!(
            error(&account_with("topicPerm: [a=PUB]"))
                .starts_with("line 4: topicPerm is nothing that an account has")
        );
        assert_eq!(error(&account_with("admin: maybe")), "line 4: admin is neither true nor false");
        assert!(
            error(&account_with("topicPerms: [a=b=PUB]"))
                .contains("Parse Resource format error for a=b=PUB.")
        );
        assert!(
            error(&account_with("whiteRemoteAddress: 1.2.3"))
                .contains("whiteRemoteAddress of RocketMQ: \"1.2.3\" is no address")
        );
        let latin = AclFile::parse(b"a: 1\nb: \xff").expect_err("no text");
        assert_eq!(latin.to_string(), "line 2: the file is not UTF-8");
        let long = AclFile::parse(&vec![b'#'; FILE_BYTES_MAX + 1]).expect_err("too long");
        assert_eq!(long.to_string(), "the file has 1048577 bytes, at most 1048576 are read");
    }

    #[test]
    fn what_java_reads_as_another_text_must_be_quoted() {
        for secret in [
            "012345678",
            "1_2345678",
            "0x12345678",
            "+12345678",
            "12345678.0",
            "12:30:00",
            "1e2345678",
        ] {
            let text = format!("accounts:\n- accessKey: RocketMQ\n  secretKey: {secret}\n");
            assert!(
                error(&text).starts_with("line 3: secretKey is a number in a form"),
                "{secret}"
            );
            let quoted = text.replace(secret, &format!("'{secret}'"));
            assert_eq!(
                AclFile::parse(quoted.as_bytes()).expect("a file").accounts[0].1.secret_key,
                secret
            );
        }
        for secret in ["12345678", "abcdef12", "1b2c3d4e5f", "-12345678", "2026-11-30x", "deadbeef"]
        {
            let text = format!("accounts:\n- accessKey: RocketMQ\n  secretKey: {secret}\n");
            assert_eq!(
                AclFile::parse(text.as_bytes()).expect(secret).accounts[0].1.secret_key,
                secret
            );
        }
    }

    #[test]
    fn what_may_be_meant_otherwise_is_said() {
        let text = "date: today\nglobalWhiteRemoteAddresses:\n- \"*\"\naccounts:\n- accessKey: RocketMQ\n  \
                    secretKey: 12345678\n  whiteRemoteAddress: '*'\n  defaultTopicPerm: ANY\n";
        let file = AclFile::parse(text.as_bytes()).expect("a file");
        let warnings = [
            "line 1: date has no meaning; globalWhiteRemoteAddresses and accounts have",
            "line 3: globalWhiteRemoteAddresses names every address: nobody is asked for anything",
            "line 5: defaultTopicPerm: ANY of RocketMQ is no permission and denies; allowed: PUB, SUB, PUB|SUB, DENY",
            "line 5: whiteRemoteAddress of RocketMQ names every address: its name alone lets everybody in",
        ];
        assert_eq!(file.warnings(), warnings);
    }
}
