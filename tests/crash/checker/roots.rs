//! The signed checkpoints: trees as in RFC 6962 over each tenant's digests, notes as the C2SP specification has them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::Findings;
use super::log::{hex, id};
use super::picture::Picture;

pub(super) fn judge(picture: &Picture, findings: &mut Findings) {
    let mut leaves: BTreeMap<Uuid, Vec<Vec<u8>>> = BTreeMap::new();
    for event in &picture.events {
        let digest = bytes(&event.digest);
        let leaf = Sha256::new().chain_update([0]).chain_update(digest).finalize().to_vec();
        leaves.entry(event.tenant).or_default().push(leaf);
    }
    let keys: Vec<Vec<u8>> = picture.keys.iter().filter_map(|row| Some(bytes(row["public"].as_str()?))).collect();
    findings.check("roots", !picture.checkpoints.is_empty(), || "there is no checkpoint".to_owned());
    for row in &picture.checkpoints {
        let note = row["note"].as_str().unwrap_or_default();
        findings.check("roots", signed(note, &keys), || format!("no known key has signed {note:?}"));
        let said: Vec<&str> = note.lines().collect();
        let root = row["root"].as_str().map(bytes).unwrap_or_default();
        let agrees = said.get(1).copied() == Some(row["size"].to_string().as_str())
            && said.get(2).copied() == Some(BASE64_STANDARD.encode(&root).as_str());
        findings.check("roots", agrees, || format!("{row} is not what its note says"));
        // The platform's own log has other leaves.
        let Some(leaves) = id(row, "tenant").and_then(|tenant| leaves.get(&tenant)) else { continue };
        let size = row["size"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX);
        let right = leaves.get(..size).is_some_and(|leaves| row["root"] == hex(&tree(leaves)).as_str());
        findings.check("roots", right, || format!("{row} is not the tree over {size} of {} events", leaves.len()));
    }
}

/// The root over leaves' hashes: split at the largest power of two below their number.
fn tree(leaves: &[Vec<u8>]) -> Vec<u8> {
    match leaves {
        [] => Sha256::digest([]).to_vec(),
        [leaf] => leaf.clone(),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            Sha256::new().chain_update([1]).chain_update(tree(left)).chain_update(tree(right)).finalize().to_vec()
        }
    }
}

/// Whether one of the keys has signed the note: a text, an empty line, and lines `— NAME BASE64`, where the first four
/// bytes only hint at the key.
fn signed(note: &str, keys: &[Vec<u8>]) -> bool {
    let Some((text, signatures)) = note.split_once("\n\n") else { return false };
    let text = format!("{text}\n");
    let signatures = signatures.lines().filter_map(|line| line.strip_prefix("— ")?.rsplit_once(' '));
    let mut signatures = signatures.filter_map(|(_, signature)| BASE64_STANDARD.decode(signature).ok());
    signatures.any(|signature| {
        let good =
            |key: &Vec<u8>| UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature[4..]).is_ok();
        signature.len() > 4 && keys.iter().any(good)
    })
}

/// `\x…` as bytes.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim_start_matches("\\x").as_bytes();
    let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair.iter().fold(0, |value, d| value * 16 + digit(*d))).unwrap_or(0))
        .collect()
}
