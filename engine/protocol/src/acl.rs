//! Signatures of requests: who sends them, proven by a shared secret (RocketMQ 4.9 `AclUtils`,
//! `AclClientRPCHook`).
//!
//! ```text
//! Signature = Base64(HMAC-SHA1(secret key, values of the other ext fields by their names, then the body))
//! ```
//!
//! SHA-1 is what 4.9 speaks. Nobody can forge an HMAC by what is known against it, but whoever reads the
//! network can send a request once more.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ext_fields::ExtFields;
use crate::header::query_message::UNIQUE_KEY_QUERY;
use crate::remoting_command::RemotingCommand;

/// Ext field: whose secret was used.
pub const ACCESS_KEY: &str = "AccessKey";
/// Ext field: the signature.
pub const SIGNATURE: &str = "Signature";
/// Ext field: token of a temporary access key.
pub const SECURITY_TOKEN: &str = "SecurityToken";

/// Bytes that SHA-1 takes at a time.
const BLOCK_BYTES: usize = 64;

/// The signature of a request with these fields, of which one that is there already does not count.
#[must_use]
pub fn signature(fields: &ExtFields, body: &[u8], secret_key: &str) -> String {
    sign(fields, body, secret_key, &[SIGNATURE])
}

/// Whether `signature` is one of `request` by `secret_key`. What a client of 4.9 signs and a server of 4.9 leaves out may be
/// signed or not: a query by unique key passes as well. Takes as long for a wrong signature as for a right one.
#[must_use]
pub fn is_signed_by(request: &RemotingCommand, secret_key: &str, signature: &str) -> bool {
    let RemotingCommand { ext_fields, body, .. } = request;
    let is = |left_out: &[&str]| is_equal(&sign(ext_fields, body, secret_key, left_out), signature);
    is(&[SIGNATURE])
        || (ext_fields.get(UNIQUE_KEY_QUERY).is_some() && is(&[SIGNATURE, UNIQUE_KEY_QUERY]))
}

fn sign(fields: &ExtFields, body: &[u8], secret_key: &str, left_out: &[&str]) -> String {
    let signed = fields.iter().filter(|(name, _)| !left_out.contains(name));
    let by_name: BTreeMap<&str, &str> = signed.collect();
    let mut content: Vec<u8> = by_name.into_values().flat_map(str::bytes).collect();
    content.extend_from_slice(body);
    STANDARD.encode(hmac_sha1(secret_key.as_bytes(), &content))
}

/// Looks at every byte, so that the time tells nobody how many were right.
fn is_equal(one: &str, other: &str) -> bool {
    let differ =
        one.bytes().zip(other.bytes()).fold(0, |differ, (one, other)| differ | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differ) == 0
}

/// HMAC of RFC 2104 over SHA-1.
fn hmac_sha1(key: &[u8], content: &[u8]) -> [u8; 20] {
    let mut block = [0; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..20].copy_from_slice(&sha1(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = sha1(&[&block.map(|byte| byte ^ 0x36), content]);
    sha1(&[&block.map(|byte| byte ^ 0x5c), &inner])
}

/// SHA-1 of FIPS 180-4 over what `parts` are together.
fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut padded = parts.concat();
    let bits = padded.len() as u64 * 8;
    padded.push(0x80);
    let rest = (padded.len() + 8) % BLOCK_BYTES;
    padded.resize(padded.len() + (BLOCK_BYTES - rest) % BLOCK_BYTES, 0);
    padded.extend_from_slice(&bits.to_be_bytes());
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(BLOCK_BYTES) {
        add_block(&mut state, block);
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn add_block(state: &mut [u32; 5], block: &[u8]) {
    let mut words = [0_u32; 80];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    for n in 16..80 {
        words[n] = (words[n - 3] ^ words[n - 8] ^ words[n - 14] ^ words[n - 16]).rotate_left(1);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for (n, word) in words.into_iter().enumerate() {
        let (mixed, constant) = match n / 20 {
            0 => ((b & c) | (!b & d), 0x5a82_7999),
            1 => (b ^ c ^ d, 0x6ed9_eba1),
            2 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let sum = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e);
        let next = sum.wrapping_add(constant).wrapping_add(word);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    for (word, added) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(added);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::RequestCode;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_are_those_of_the_standards() {
        assert_eq!(hex(&sha1(&[b"abc"])), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(&[])), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        let long = [b'a'; 1_000_000];
        assert_eq!(hex(&sha1(&[&long])), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
        // RFC 2202, cases 2 and 6.
        let mac = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex(&mac), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let mac = hmac_sha1(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(hex(&mac), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    #[test]
    fn a_query_by_unique_key_is_signed_with_its_mark_or_without() {
        let mut request = RemotingCommand::request(RequestCode::QUERY_MESSAGE, &());
        request.ext_fields.insert("topic", "T");
        let without = signature(&request.ext_fields, b"", "12345678");
        assert!(is_signed_by(&request, "12345678", &without));
        request.ext_fields.insert(UNIQUE_KEY_QUERY, "true");
        let with = signature(&request.ext_fields, b"", "12345678");
        assert!(with != without && is_signed_by(&request, "12345678", &with));
        assert!(is_signed_by(&request, "12345678", &without));
        for wrong in ["", &with[1..], &format!("{with}="), &with.to_lowercase()] {
            assert!(!is_signed_by(&request, "12345678", wrong), "{wrong}");
        }
        assert!(!is_signed_by(&request, "87654321", &with));
    }
}
