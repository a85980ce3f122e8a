//! Typed, prefixed identifiers.
//!
//! An id is a UUID in the program and in the database. In text (URLs, JSON, logs, branch names) it is written as a
//! [TypeID](https://github.com/jetify-com/typeid/tree/main/spec): a prefix naming its kind, `_`, and the UUID's 128 bits
//! as 26 lower-case Crockford base-32 digits, so that a wrong id is seen at a glance and ids sort by their time.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// The kind of thing an [`Id`] names.
pub trait Kind: Send + Sync + 'static {
    /// Written before the `_` of the text form.
    const PREFIX: &'static str;
}

/// A typed id: `Id<Card>` can never stand where `Id<Run>` is wanted.
pub struct Id<K>(Uuid, PhantomData<fn() -> K>);

macro_rules! kinds {
    ($($(#[$doc:meta])* $alias:ident = $kind:ident($prefix:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind {}
        impl Kind for $kind {
            const PREFIX: &'static str = $prefix;
        }
        $(#[$doc])*
        pub type $alias = Id<$kind>;
    )*};
}

kinds! {
    /// Billing and isolation: everything belongs to one tenant.
    TenantId = TenantKind("tnt");
    /// A client or a team inside a tenant.
    WorkspaceId = WorkspaceKind("wsp");
    /// A tenant's account with a model vendor.
    ProviderId = ProviderKind("prv");
    /// One repository and its board.
    ProjectId = ProjectKind("prj");
    /// A piece of work on a board.
    CardId = CardKind("crd");
    /// One execution of a card.
    RunId = RunKind("run");
    /// An isolated development environment.
    EnvironmentId = EnvironmentKind("env");
    /// A person.
    UserId = UserKind("usr");
    /// Somebody who runs the installation, under a pseudonym: a keyed digest of the name.
    OperatorId = OperatorKind("opr");
    /// Somebody whom personal data is about, or who said it: what erasing names.
    SubjectId = SubjectKind("sub");
    /// One event in the log.
    EventId = EventKind("evt");
    /// One command; repeating it changes nothing.
    CommandId = CommandKind("cmd");
    /// A comment on a card.
    CommentId = CommentKind("cmt");
}

/// Why a text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid id: expected `{prefix}_` followed by 26 characters")]
pub struct IdError {
    /// The prefix that was wanted.
    pub prefix: &'static str,
    /// What was given, cut to 64 characters.
    pub text: String,
}

impl<K> Id<K> {
    /// The id of an existing UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The bare UUID, as the database holds it.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const TEXT_LEN: usize = 26;

fn encode(uuid: Uuid) -> [u8; TEXT_LEN] {
    let value = uuid.as_u128();
    std::array::from_fn(|i| DIGITS[((value >> (5 * (TEXT_LEN - 1 - i))) & 31) as usize])
}

fn decode(text: &str) -> Option<Uuid> {
    let bytes = text.as_bytes();
    // 26 digits hold 130 bits: the first may only be 0 to 7.
    if bytes.len() != TEXT_LEN || bytes[0] > b'7' {
        return None;
    }
    let (mut value, mut seen) = (0_u128, 0);
    for byte in bytes {
        let digit = VALUES[usize::from(*byte)];
        seen |= digit;
        value = (value << 5) | u128::from(digit & 31);
    }
    (seen < 32).then(|| Uuid::from_u128(value))
}

/// What each character counts as a digit; 255 when it is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut digit = 0;
    while digit < 32 {
        values[DIGITS[digit as usize] as usize] = digit;
        digit += 1;
    }
    values
};

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        for byte in encode(self.0) {
            fmt::Write::write_char(f, char::from(byte))?;
        }
        Ok(())
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(decode)
            .map(Self::from_uuid)
            .ok_or_else(|| IdError { prefix: K::PREFIX, text: text.chars().take(64).collect() })
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<K> Copy for Id<K> {}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<K>(PhantomData<K>);
        impl<K: Kind> de::Visitor<'_> for Text<K> {
            type Value = Id<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an id that begins with `{}_`", K::PREFIX)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id<K>, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

impl<K: Kind> schemars::JsonSchema for Id<K> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}Id", K::PREFIX).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": format!("^{}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$", K::PREFIX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_the_one_of_the_typeid_specification() {
        // The specification's own valid cases, with our prefix.
        let cases = [
            ("00000000-0000-0000-0000-000000000000", "crd_00000000000000000000000000"),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", "crd_7zzzzzzzzzzzzzzzzzzzzzzzzz"),
            ("01890a5d-ac96-774b-bcce-b302099a8057", "crd_01h455vb4pex5vsknk084sn02q"),
        ];
        for (uuid, text) in cases {
            let id = CardId::from_uuid(uuid.parse().unwrap());
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse::<CardId>().unwrap(), id);
        }
    }

    #[test]
    fn a_text_of_another_kind_or_shape_is_refused() {
        for text in [
            "",
            "crd",
            "crd_",
            "run_01h455vb4pex5vsknk084sn02q",
            "crd_81h455vb4pex5vsknk084sn02q",
            "crd_01h455vb4pex5vsknk084sn02",
            "crd_01H455VB4PEX5VSKNK084SN02Q",
            "crd_01h455vb4pex5vsknk084sn02l",
            "crd_01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            assert!(text.parse::<CardId>().is_err(), "{text}");
        }
    }
}
