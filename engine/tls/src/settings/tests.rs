//! Lines of both files, and what is refused.

use mq_env::Env;

use super::*;

/// Reads `text`, which may name another file with `more`; what is left of it, and the settings.
fn take(text: &str, more: Option<&str>) -> (PropertiesFile, Result<TlsSettings, String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _inside = runtime.enter();
    let dir = tempfile::tempdir().expect("a directory");
    let disk = Env::os().disk;
    let mut text = text.to_owned();
    if let Some(more) = more {
        let path = dir.path().join("tls.properties");
        disk.write(&path, more.as_bytes()).expect("written");
        text += &format!("\ntls.config.file={}\n", path.display());
    }
    let mut file = PropertiesFile::parse(text.as_bytes()).expect("readable");
    let settings = TlsSettings::take(&mut file, "b.conf", &*disk);
    (file, settings.map_err(|error| error.to_string()))
}

fn settings(text: &str) -> TlsSettings {
    take(text, None).1.expect(text)
}

fn refused(text: &str) -> String {
    take(text, None).1.expect_err(text)
}

const SERVER: &str = "tls.server.certPath=c.pem\ntls.server.keyPath=k.pem\n";

#[test]
fn without_a_line_both_kinds_are_served_by_a_certificate_of_ones_own() {
    let (file, without) = take("brokerName=b\nlistenPort=1\n", None);
    assert_eq!(without, Ok(TlsSettings::default()));
    assert_eq!(file.entries().len(), 2);
    let (file, enforcing) = take("brokerName=b\ntls.server.mode=enforcing\nuseTLS=\n", None);
    let enforcing = enforcing.expect("settings");
    assert_eq!((enforcing.mode, enforcing.client_enable), (TlsMode::Enforcing, true), "as in 4.9");
    assert_eq!(file.entries().len(), 1, "what is taken is not there any more");
    assert!(!settings("tls.server.mode=enforcing\ntls.enable=false").client_enable);
    assert!(settings("useTLS=TRUE").client_enable);
}

#[test]
fn the_second_file_overrules_the_first() {
    let more = "tls.server.certPath=/x/c.pem\ntls.test.mode.enable=false\ntls.client.authServer=true\n\
                tls.client.trustCertPath=/x/ca.pem\n";
    let (_, read) = take(&format!("{SERVER}tls.test.mode.enable=true\n"), Some(more));
    let wanted = TlsSettings {
        server: Some(KeyPair { cert_path: "/x/c.pem".into(), key_path: "k.pem".into() }),
        client_trust: Some("/x/ca.pem".into()),
        ..TlsSettings::default()
    };
    assert_eq!(read, Ok(wanted));
    let missing = refused("tls.config.file=/nowhere/tls.properties");
    assert!(missing.starts_with("/nowhere/tls.properties cannot be used for TLS: "), "{missing}");
}

#[test]
fn clients_may_have_to_show_who_they_are() {
    let auth = "tls.server.need.client.auth=require\ntls.server.authClient=true\ntls.server.trustCertPath=ca.pem\n";
    let read = settings(&format!(
        "{SERVER}{auth}tls.client.certPath=cc\ntls.client.keyPath=ck\ntls.enable=true"
    ));
    assert_eq!((read.client_auth, read.server_trust), (ClientAuth::Require, Some("ca.pem".into())));
    let client = KeyPair { cert_path: "cc".into(), key_path: "ck".into() };
    assert_eq!((read.client, read.client_enable), (Some(client), true));
}

#[test]
fn what_is_printed_is_read_again() {
    for text in [
        "tls.server.mode=disabled",
        SERVER,
        "tls.enable=true\ntls.client.authServer=true\ntls.client.trustCertPath=ca",
    ] {
        let read = settings(&format!("{SERVER}{text}"));
        let printed = read.values_in_force();
        let printed: String =
            printed.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        assert_eq!(settings(&printed), read, "{printed}");
    }
}

#[test]
fn what_would_not_protect_is_refused() {
    let cases = [
        ("tls.server.modes=enforcing", "b.conf:1: tls.server.modes = enforcing is no key of TLS"),
        (
            "tls.server.mode=on",
            "b.conf:1: tls.server.mode = on is no mode; allowed: disabled, permissive, enforcing",
        ),
        ("tls.enable=yes", "b.conf:1: tls.enable = yes is neither true nor false"),
        (
            "tls.server.certPath=c.pem",
            "b.conf:1: tls.server.certPath = c.pem needs the other one of tls.server.certPath and tls.server.keyPath",
        ),
        (
            "tls.test.mode.enable=true\ntls.server.certPath=c\ntls.server.keyPath=k",
            "b.conf:2: tls.server.certPath = c is not used in test mode; take out tls.test.mode.enable=true",
        ),
        (
            "tls.test.mode.enable=false",
            "tls.server.certPath and tls.server.keyPath name no certificate, and tls.test.mode.enable=false makes \
             none: name one, or set tls.server.mode=disabled",
        ),
        (
            "tls.server.need.client.auth=require",
            "b.conf:1: tls.server.need.client.auth = require takes any certificate: set tls.server.authClient=true and \
             tls.server.trustCertPath as well",
        ),
        (
            "tls.server.authClient=true",
            "b.conf:1: tls.server.authClient = true has no effect: nobody is asked; set \
             tls.server.need.client.auth=require as well",
        ),
        (
            "tls.server.trustCertPath=ca\ntls.server.certPath=c\ntls.server.keyPath=k",
            "b.conf:1: tls.server.trustCertPath = ca has no effect: set tls.server.authClient=true and \
             tls.server.need.client.auth=require as well",
        ),
        (
            "tls.server.need.client.auth=always",
            "b.conf:1: tls.server.need.client.auth = always is no way to ask; allowed: none, optional, require",
        ),
        (
            "tls.client.authServer=true",
            "b.conf:1: tls.client.authServer = true needs tls.client.trustCertPath: certificates of the machine are not \
             looked for",
        ),
        (
            "tls.test.mode.enable=false\ntls.server.mode=disabled\ntls.client.trustCertPath=ca",
            "b.conf:3: tls.client.trustCertPath = ca has no effect: set tls.client.authServer=true as well",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(refused(text), wanted, "{text}");
    }
    let password = refused(&format!("{SERVER}tls.server.keyPassword=hunter2"));
    assert!(
        password.starts_with("b.conf:3: tls.server.keyPassword = … is the password"),
        "{password}"
    );
    assert!(!password.contains("hunter2"));
    settings(&format!("{SERVER}tls.server.keyPassword=\ntls.server.need.client.auth=none"));
}
