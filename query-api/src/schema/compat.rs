//! Whether the GraphQL schema still has what a released one had.

use std::collections::BTreeMap;

use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    FieldDefinition, InputValueDefinition, ServiceDocument, TypeDefinition, TypeKind, TypeSystemDefinition,
};

/// Each way in which a schema breaks what a released one promised: something is gone, an answer may be of another type,
/// or a question must say more than before.
pub fn sdl_breaks(released: &str, new: &str) -> Vec<String> {
    match (parse_schema(released), parse_schema(new)) {
        (Ok(old), Ok(new)) => documents(&old, &new),
        (Err(error), _) | (_, Err(error)) => vec![format!("schema.graphql cannot be read: {error}")],
    }
}

fn documents(old: &ServiceDocument, new: &ServiceDocument) -> Vec<String> {
    let new = types(new);
    let mut found = Vec::new();
    for (name, before) in types(old) {
        match new.get(name) {
            None => found.push(format!("the type `{name}` was removed")),
            Some(after) => kinds(name, &before.kind, &after.kind, &mut found),
        }
    }
    found.into_iter().map(|found| format!("schema.graphql: {found}; add beside it instead of changing it")).collect()
}

fn types(document: &ServiceDocument) -> BTreeMap<&str, &TypeDefinition> {
    let mut types = BTreeMap::new();
    for definition in &document.definitions {
        if let TypeSystemDefinition::Type(named) = definition {
            types.insert(named.node.name.node.as_str(), &named.node);
        }
    }
    types
}

fn kinds(name: &str, old: &TypeKind, new: &TypeKind, found: &mut Vec<String>) {
    match (old, new) {
        (TypeKind::Scalar, TypeKind::Scalar) => {}
        (TypeKind::Object(old), TypeKind::Object(new)) => fields(name, &old.fields, &new.fields, found),
        (TypeKind::Interface(old), TypeKind::Interface(new)) => fields(name, &old.fields, &new.fields, found),
        (TypeKind::InputObject(old), TypeKind::InputObject(new)) => inputs(name, &old.fields, &new.fields, found),
        (TypeKind::Enum(old), TypeKind::Enum(new)) => {
            let present = |value: &str| new.values.iter().any(|other| other.node.value.node == value);
            let gone = old.values.iter().map(|value| value.node.value.node.as_str()).filter(|value| !present(value));
            found.extend(gone.map(|value| format!("`{name}.{value}` was removed")));
        }
        (TypeKind::Union(old), TypeKind::Union(new)) => {
            let present = |member: &str| new.members.iter().any(|other| other.node == member);
            let gone = old.members.iter().map(|member| member.node.as_str()).filter(|member| !present(member));
            found.extend(gone.map(|member| format!("`{member}` was removed from `{name}`")));
        }
        _ => found.push(format!("`{name}` is another kind of type")),
    }
}

fn fields(of: &str, old: &[Positioned<FieldDefinition>], new: &[Positioned<FieldDefinition>], found: &mut Vec<String>) {
    for before in old.iter().map(|field| &field.node) {
        let name = format!("{of}.{}", before.name.node);
        let Some(after) = new.iter().map(|field| &field.node).find(|after| after.name.node == before.name.node) else {
            found.push(format!("`{name}` was removed"));
            continue;
        };
        let (was, is) = (before.ty.node.to_string(), after.ty.node.to_string());
        if is != was && is != format!("{was}!") {
            found.push(format!("`{name}` was {was} and is {is}"));
        }
        inputs(&name, &before.arguments, &after.arguments, found);
    }
}

fn inputs(
    of: &str,
    old: &[Positioned<InputValueDefinition>],
    new: &[Positioned<InputValueDefinition>],
    found: &mut Vec<String>,
) {
    for before in old.iter().map(|input| &input.node) {
        let name = &before.name.node;
        let Some(after) = new.iter().map(|input| &input.node).find(|after| after.name.node == *name) else {
            found.push(format!("`{of}({name})` was removed"));
            continue;
        };
        let (was, is) = (before.ty.node.to_string(), after.ty.node.to_string());
        if is != was && was != format!("{is}!") {
            found.push(format!("`{of}({name})` was {was} and is {is}"));
        }
    }
    for after in new.iter().map(|input| &input.node) {
        let known = old.iter().any(|before| before.node.name.node == after.name.node);
        if !known && !after.ty.node.nullable && after.default_value.is_none() {
            found.push(format!("`{of}({})` was added and is required", after.name.node));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "type Query { a(x: Int, y: Int!): A b: [String] } type A { id: ID! name: String } \
        enum E { ONE TWO } union U = A | B type B { id: ID } input I { p: Int q: Int! } scalar S";

    fn found(from: &str, to: &str) -> Vec<String> {
        assert!(OLD.contains(from), "{from}");
        sdl_breaks(OLD, &OLD.replacen(from, to, 1))
    }

    #[test]
    fn what_is_added_and_what_becomes_stricter_in_answers_or_looser_in_questions_breaks_nothing() {
        for (from, to) in [
            ("scalar S", "scalar S type New { id: ID }"),
            ("name: String", "name: String! more: Int"),
            ("x: Int, y: Int!", "x: Int, y: Int, z: Int, w: Int! = 1"),
            ("ONE TWO", "THREE ONE TWO"),
            ("A | B", "A | B | New"),
            ("q: Int!", "q: Int r: Int"),
        ] {
            assert_eq!(found(from, to), [""; 0], "{to}");
        }
    }

    #[test]
    fn what_goes_or_changes_breaks() {
        for (from, to, wanted) in [
            ("scalar S", "", "the type `S` was removed"),
            ("scalar S", "enum S { X }", "`S` is another kind"),
            ("name: String", "", "`A.name` was removed"),
            ("id: ID! name", "id: ID name", "`A.id` was ID! and is ID"),
            ("b: [String]", "b: [Int]", "`Query.b` was [String] and is [Int]"),
            ("x: Int, ", "", "`Query.a(x)` was removed"),
            ("x: Int, ", "x: Int!, ", "`Query.a(x)` was Int and is Int!"),
            ("x: Int, ", "x: Int, z: Int!, ", "`Query.a(z)` was added and is required"),
            ("ONE TWO", "ONE", "`E.TWO` was removed"),
            ("A | B", "A", "`B` was removed from `U`"),
            ("p: Int ", "", "`I(p)` was removed"),
            ("q: Int!", "q: Int! r: Int!", "`I(r)` was added and is required"),
            ("scalar S", "type {", "cannot be read"),
        ] {
            let found = found(from, to);
            assert!(found.len() == 1 && found[0].contains(wanted), "{to}: {found:?}");
        }
    }
}
