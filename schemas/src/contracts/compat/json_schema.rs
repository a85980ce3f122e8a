//! What differs between two JSON Schemas, and what of that breaks a promise.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

/// Who relies on a schema, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Nothing may change: what was stored by it stays.
    Frozen,
    /// Others write it and read it: optional fields and further choices may be added.
    ReadAndWritten,
    /// Others read it.
    Read,
    /// Others write it.
    Written,
}

/// A way in which a schema differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A field is gone.
    FieldRemoved(String),
    /// There is a further field, which may be absent.
    FieldAdded(String),
    /// There is a further field, which must be there.
    RequiredFieldAdded(String),
    /// A field must be there now.
    FieldRequired(String),
    /// A field may be absent now.
    FieldOptional(String),
    /// A value is no longer among those that may stand here.
    ChoiceRemoved(String),
    /// A further value may stand here.
    ChoiceAdded(String),
    /// Less may stand here: a type, a bound or a form is narrower.
    Narrowed(String),
    /// More may stand here.
    Widened(String),
    /// Something else may stand here.
    Changed(String),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FieldRemoved(name) => write!(f, "the field `{name}` was removed"),
            Self::FieldAdded(name) => write!(f, "the field `{name}` was added"),
            Self::RequiredFieldAdded(name) => write!(f, "the field `{name}` was added and is required"),
            Self::FieldRequired(name) => write!(f, "the field `{name}` is required now"),
            Self::FieldOptional(name) => write!(f, "the field `{name}` is no longer required"),
            Self::ChoiceRemoved(value) => write!(f, "{value} may no longer stand here"),
            Self::ChoiceAdded(value) => write!(f, "{value} may stand here as well now"),
            Self::Narrowed(keyword) => write!(f, "`{keyword}` is narrower than it was"),
            Self::Widened(keyword) => write!(f, "`{keyword}` is wider than it was"),
            Self::Changed(keyword) => write!(f, "`{keyword}` has changed"),
        }
    }
}

impl Change {
    fn breaks(&self, promise: Promise) -> bool {
        use Change::{ChoiceAdded, FieldAdded, FieldOptional, FieldRequired, RequiredFieldAdded, Widened};
        match promise {
            Promise::Frozen => true,
            Promise::ReadAndWritten => !matches!(self, FieldAdded(_) | ChoiceAdded(_)),
            Promise::Read => !matches!(self, FieldAdded(_) | ChoiceAdded(_) | RequiredFieldAdded(_) | FieldRequired(_)),
            Promise::Written => !matches!(self, FieldAdded(_) | ChoiceAdded(_) | FieldOptional(_) | Widened(_)),
        }
    }
}

/// What says something to people only.
const NOTES: [&str; 9] =
    ["$id", "$schema", "$defs", "$comment", "title", "description", "examples", "example", "deprecated"];
/// Greater is narrower.
const LOWER: [&str; 5] = ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"];
/// Smaller is narrower.
const UPPER: [&str; 5] = ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"];
/// Their value is a schema.
const NESTED: [&str; 5] = ["items", "additionalProperties", "propertyNames", "contains", "not"];
/// Their value is a list of schemas.
const LISTS: [&str; 4] = ["oneOf", "anyOf", "allOf", "prefixItems"];
/// Schemas in each other, at most; those that contain themselves have been compared by then.
const DEPTH: usize = 32;

/// How `new` breaks what `old` promised, each with its place.
pub(super) fn breaks(old: &Value, new: &Value, promise: Promise) -> Vec<String> {
    breaks_within((old, old), (new, new), promise)
}

/// As [`breaks`] for schemas that are parts of documents: each with the document that its references lead into.
pub(super) fn breaks_within(old: (&Value, &Value), new: (&Value, &Value), promise: Promise) -> Vec<String> {
    let mut comparison = Comparison { old: old.1, new: new.1, found: Vec::new() };
    comparison.schemas(old.0, new.0, "", 0);
    let broken = comparison.found.into_iter().filter(|(_, change)| change.breaks(promise));
    broken.map(|(at, change)| if at.is_empty() { change.to_string() } else { format!("{at}: {change}") }).collect()
}

struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    found: Vec<(String, Change)>,
}

impl Comparison<'_> {
    fn schemas(&mut self, old: &Value, new: &Value, at: &str, depth: usize) {
        if depth > DEPTH {
            return;
        }
        let (old, new) = (resolved(old, self.old), resolved(new, self.new));
        let keywords: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
        self.choices(&old, &new, at);
        for keyword in keywords.iter().map(String::as_str).filter(|keyword| !NOTES.contains(keyword)) {
            let (before, after) = (old.get(keyword), new.get(keyword));
            match keyword {
                "enum" | "const" => {}
                "properties" => self.fields(&old, &new, at, depth),
                // Of a field that is new, or in a place without fields, it is said there.
                "required" => self.required(&old, &new, at),
                "type" => self.types(before, after, at),
                "format" | "pattern" => self.form(keyword, before, after, at),
                _ if LOWER.contains(&keyword) => self.bound(keyword, before, after, true, at),
                _ if UPPER.contains(&keyword) => self.bound(keyword, before, after, false, at),
                _ if NESTED.contains(&keyword) => self.nested(keyword, before, after, at, depth),
                _ if LISTS.contains(&keyword) => self.lists(keyword, before, after, at, depth),
                _ if before != after => self.say(at, Change::Changed(keyword.to_owned())),
                _ => {}
            }
        }
    }

    fn say(&mut self, at: &str, change: Change) {
        self.found.push((at.to_owned(), change));
    }

    fn fields(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str, depth: usize) {
        let (before, after) = (fields(old), fields(new));
        let required = names(new.get("required"));
        for name in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            match (before.get(name), after.get(name)) {
                (Some(old), Some(new)) => self.schemas(old, new, &format!("{at}/{name}"), depth + 1),
                (Some(_), None) => self.say(at, Change::FieldRemoved(name.clone())),
                (None, _) if required.contains(name) => self.say(at, Change::RequiredFieldAdded(name.clone())),
                (None, _) => self.say(at, Change::FieldAdded(name.clone())),
            }
        }
    }

    fn required(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        let (before, after) = (names(old.get("required")), names(new.get("required")));
        for name in after.difference(&before).filter(|name| fields(old).contains_key(*name)) {
            self.say(at, Change::FieldRequired(name.clone()));
        }
        for name in before.difference(&after).filter(|name| fields(new).contains_key(*name)) {
            self.say(at, Change::FieldOptional(name.clone()));
        }
    }

    fn choices(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, at: &str) {
        match (choices(old), choices(new)) {
            (None, None) => {}
            (None, Some(_)) => self.say(at, Change::Narrowed("enum".to_owned())),
            (Some(_), None) => self.say(at, Change::Widened("enum".to_owned())),
            (Some(before), Some(after)) => {
                before.difference(&after).for_each(|gone| self.say(at, Change::ChoiceRemoved(gone.clone())));
                after.difference(&before).for_each(|come| self.say(at, Change::ChoiceAdded(come.clone())));
            }
        }
    }

    fn types(&mut self, before: Option<&Value>, after: Option<&Value>, at: &str) {
        let (Some(before), Some(after)) = (before, after) else {
            let change = if before.is_none() { Change::Narrowed } else { Change::Widened };
            return self.say(at, change("type".to_owned()));
        };
        let (before, after) = (names(Some(before)), names(Some(after)));
        if before.difference(&after).next().is_some() {
            self.say(at, Change::Narrowed("type".to_owned()));
        }
        if after.difference(&before).next().is_some() {
            self.say(at, Change::Widened("type".to_owned()));
        }
    }

    fn form(&mut self, keyword: &str, before: Option<&Value>, after: Option<&Value>, at: &str) {
        let change = match (before, after) {
            (None, Some(_)) => Change::Narrowed,
            (Some(_), None) => Change::Widened,
            _ if before != after => Change::Changed,
            _ => return,
        };
        self.say(at, change(keyword.to_owned()));
    }

    fn bound(&mut self, keyword: &str, before: Option<&Value>, after: Option<&Value>, lower: bool, at: &str) {
        let open = if lower { f64::NEG_INFINITY } else { f64::INFINITY };
        let value = |bound: Option<&Value>| bound.and_then(Value::as_f64).unwrap_or(open);
        match value(before).total_cmp(&value(after)) {
            std::cmp::Ordering::Equal => {}
            order if order.is_lt() == lower => self.say(at, Change::Narrowed(keyword.to_owned())),
            _ => self.say(at, Change::Widened(keyword.to_owned())),
        }
    }

    fn nested(&mut self, keyword: &str, before: Option<&Value>, after: Option<&Value>, at: &str, depth: usize) {
        let (anything, nothing) = (Value::Bool(true), Value::Bool(false));
        let (before, after) = (before.unwrap_or(&anything), after.unwrap_or(&anything));
        if before == after {
            return;
        }
        if before == &anything || after == &nothing {
            self.say(at, Change::Narrowed(keyword.to_owned()));
        } else if after == &anything || before == &nothing {
            self.say(at, Change::Widened(keyword.to_owned()));
        } else {
            self.schemas(before, after, &format!("{at}/{keyword}"), depth + 1);
        }
    }

    fn lists(&mut self, keyword: &str, before: Option<&Value>, after: Option<&Value>, at: &str, depth: usize) {
        let (Some(before), Some(after)) = (before, after) else {
            return self.say(at, Change::Changed(keyword.to_owned()));
        };
        let parts = match keyword {
            "oneOf" | "anyOf" => alternatives,
            // All of them hold, or each has its place: there is nothing to tell apart.
            _ => in_place,
        };
        let (before, after) = (parts(before, self.old), parts(after, self.new));
        for (name, old) in &before {
            match after.iter().find(|(other, _)| other == name) {
                Some((_, new)) => self.schemas(old, new, &format!("{at}/{name}"), depth + 1),
                None if keyword == "allOf" => self.say(at, Change::Changed(keyword.to_owned())),
                None => self.say(at, Change::ChoiceRemoved(format!("`{name}`"))),
            }
        }
        for (name, _) in after.iter().filter(|(name, _)| before.iter().all(|(other, _)| other != name)) {
            let change = match keyword {
                "allOf" => Change::Changed(keyword.to_owned()),
                _ => Change::ChoiceAdded(format!("`{name}`")),
            };
            self.say(at, change);
        }
    }
}

/// The keywords of a schema, those that it refers to included.
fn resolved(schema: &Value, root: &Value) -> Map<String, Value> {
    let mut keywords = schema.as_object().cloned().unwrap_or_default();
    for _ in 0..DEPTH {
        let Some(Value::String(reference)) = keywords.remove("$ref") else { break };
        match reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer)).and_then(Value::as_object) {
            Some(target) => {
                for (keyword, value) in target {
                    keywords.entry(keyword.clone()).or_insert_with(|| value.clone());
                }
            }
            // Another file's: that it is still the same one is all there is to compare.
            None => {
                keywords.insert("reference".to_owned(), reference.into());
            }
        }
    }
    keywords
}

fn fields(schema: &Map<String, Value>) -> Map<String, Value> {
    schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A text, or a list of texts, as a set.
fn names(value: Option<&Value>) -> BTreeSet<String> {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::String(name)) => BTreeSet::from([name.clone()]),
        _ => BTreeSet::new(),
    }
}

/// The values that may stand here, when they are listed.
fn choices(schema: &Map<String, Value>) -> Option<BTreeSet<String>> {
    let listed = schema.get("enum").and_then(Value::as_array).cloned();
    let listed = listed.or_else(|| schema.get("const").map(|value| vec![value.clone()]));
    listed.map(|values| values.iter().map(Value::to_string).collect())
}

/// Schemas by their places.
fn in_place(list: &Value, _: &Value) -> Vec<(String, Value)> {
    let all = list.as_array().into_iter().flatten().enumerate();
    all.map(|(index, schema)| (index.to_string(), schema.clone())).collect()
}

/// Alternatives by what tells them apart: a constant, the constants or the required fields in them, or the type.
fn alternatives(list: &Value, root: &Value) -> Vec<(String, Value)> {
    let named = |(index, schema): (usize, &Value)| {
        let keywords = resolved(schema, root);
        let constants: Vec<_> =
            fields(&keywords).values().filter_map(|field| field.get("const")?.as_str().map(str::to_owned)).collect();
        let required: Vec<_> = names(keywords.get("required")).into_iter().collect();
        let values: Vec<_> = choices(&keywords).into_iter().flatten().collect();
        let types: Vec<_> = names(keywords.get("type")).into_iter().collect();
        let name = [values, constants, required, types].into_iter().find(|names| !names.is_empty());
        let name = name.map_or_else(|| index.to_string(), |names| names.join(" "));
        (name, schema.clone())
    };
    list.as_array().into_iter().flatten().enumerate().map(named).collect()
}
