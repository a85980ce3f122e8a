//! What a request may cost, known before anything is done for it.
//!
//! Every transport asks it before it runs anything. Not an extension of `async-graphql`'s: where there is one, each field of
//! each thing is looked up by name once more and goes through it. Fragments are weighed once each, however often they are
//! spread, so that weighing itself costs no more than reading the document.

use std::collections::HashMap;

use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use async_graphql::{ErrorExtensionValues, Name, Request, Response, ServerError, ServerResult};

use crate::error::INVALID_QUERY;

/// Fields and fragments in each other, whatever the operator set.
pub const MAX_DEPTH: usize = 32;
/// Directives on one field.
pub(crate) const DIRECTIVES: usize = 4;
/// Bytes of a document.
const BYTES: usize = 64 * 1024;
/// Words and signs in a document.
const TOKENS: usize = 10_000;
/// Brackets in each other; the parser goes one call deeper for each.
const BRACKETS: usize = 100;
/// Aliases in a document, those of a fragment each time it is spread.
const ALIASES: usize = 50;
/// Fields in a document, those of a fragment each time it is spread.
const FIELDS: usize = 2_000;

/// Reads the request's document, when it keeps the bounds.
///
/// # Errors
/// The bound that it breaks, or why it cannot be read.
pub(crate) fn admit(request: &mut Request) -> ServerResult<&ExecutableDocument> {
    let refuse = |text: String| Err(ServerError::new(text, None));
    if request.query.len() > BYTES {
        return refuse(format!("a document has at most {BYTES} bytes"));
    }
    if !shallow(&request.query) {
        return refuse(format!("brackets may stand in each other at most {BRACKETS} deep"));
    }
    if tokens(&request.query) > TOKENS {
        return refuse(format!("a document has at most {TOKENS} words and signs"));
    }
    let document = request.parsed_query()?;
    let mut scale = Scale { document, fragments: HashMap::new() };
    let mut weight = Weight::default();
    for (_, operation) in document.operations.iter() {
        weight = weight.and(scale.weigh(&operation.node.selection_set.node, 0)?);
    }
    if weight.aliases > ALIASES {
        return refuse(format!("a request has at most {ALIASES} aliases"));
    }
    if weight.fields > FIELDS {
        return refuse(format!("a request has at most {FIELDS} fields"));
    }
    Ok(document)
}

/// About how many tokens a document has: words, and signs that are none. Those in texts and comments are counted as well.
fn tokens(text: &str) -> usize {
    let (mut count, mut within) = (0, false);
    for byte in text.bytes() {
        let word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
        let sign = !word && !byte.is_ascii_whitespace() && byte != b',';
        count += usize::from(sign || (word && !within));
        within = word;
    }
    count
}

/// Whether brackets stand in each other no deeper than they may. Counts those in texts and comments as well: who needs
/// many of them there gives them as a variable.
fn shallow(text: &str) -> bool {
    let mut depth = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BRACKETS {
            return false;
        }
    }
    true
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    fields: usize,
    aliases: usize,
}

impl Weight {
    fn and(self, other: Self) -> Self {
        Self { fields: self.fields.saturating_add(other.fields), aliases: self.aliases.saturating_add(other.aliases) }
    }
}

struct Scale<'d> {
    document: &'d ExecutableDocument,
    /// What is known of fragments; those that are being weighed are there as `None`.
    fragments: HashMap<&'d Name, Option<Weight>>,
}

impl<'d> Scale<'d> {
    fn weigh(&mut self, set: &'d SelectionSet, depth: usize) -> ServerResult<Weight> {
        if depth > MAX_DEPTH {
            return Err(ServerError::new(format!("fields may stand in each other at most {MAX_DEPTH} deep"), None));
        }
        let mut weight = Weight::default();
        for selection in &set.items {
            weight = weight.and(match &selection.node {
                Selection::Field(field) => {
                    let own = Weight { fields: 1, aliases: usize::from(field.node.alias.is_some()) };
                    own.and(self.weigh(&field.node.selection_set.node, depth + 1)?)
                }
                Selection::InlineFragment(inline) => self.weigh(&inline.node.selection_set.node, depth + 1)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, depth + 1)?,
            });
        }
        Ok(weight)
    }

    fn fragment(&mut self, name: &'d Name, depth: usize) -> ServerResult<Weight> {
        match self.fragments.get(name) {
            Some(Some(known)) => return Ok(*known),
            Some(None) => return Err(ServerError::new("a fragment must not contain itself", None)),
            None => {}
        }
        // One that does not exist is found by the rules of the schema.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Weight::default()) };
        self.fragments.insert(name, None);
        let weight = self.weigh(&fragment.node.selection_set.node, depth)?;
        self.fragments.insert(name, Some(weight));
        Ok(weight)
    }
}

/// The answer to a request that was not admitted.
pub(crate) fn refused(why: ServerError) -> Response {
    with_codes(Response::from_errors(vec![why]))
}

/// Gives a code to the errors that have none yet: they come from reading or checking the document or its arguments.
pub(crate) fn with_codes(mut response: Response) -> Response {
    for error in &mut response.errors {
        let known = error.extensions.as_ref().is_some_and(|extensions| extensions.get("code").is_some());
        if !known {
            error.extensions.get_or_insert_with(ErrorExtensionValues::default).set("code", INVALID_QUERY);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(query: &str) -> Result<(), String> {
        admit(&mut Request::new(query)).map(drop).map_err(|error| error.message)
    }

    #[test]
    fn what_people_ask_is_admitted() {
        let query = "query A($id: ID!) { a: project(id: $id) { ...F } b: project(id: $id) { ...F } } \
            fragment F on Project { id name }";
        verdict(query).unwrap();
    }

    #[test]
    fn a_document_that_blows_up_is_refused_at_once() {
        // Each fragment spreads the next one twice: 2^60 fields.
        let bomb: String = (0..60).map(|i| format!("fragment F{i} on T {{ ...F{n} ...F{n} }} ", n = i + 1)).collect();
        let bomb = format!("{{ ...F0 }} {bomb} fragment F60 on T {{ id }}");
        assert!(verdict(&bomb).is_err());
        let wide: String = (0..20).map(|i| format!("fragment F{i} on T {{ ...F{n} ...F{n} }} ", n = i + 1)).collect();
        assert!(
            verdict(&format!("{{ ...F0 }} {wide} fragment F20 on T {{ id }}")).unwrap_err().contains("2000 fields")
        );
        assert!(verdict("{ ...A } fragment A on T { ...B } fragment B on T { ...A }").unwrap_err().contains("itself"));
        let aliases: String = (0..51).map(|i| format!("a{i}: id ")).collect();
        assert!(verdict(&format!("{{ {aliases} }}")).unwrap_err().contains("aliases"));
        assert!(verdict(&"{a".repeat(20_000)).unwrap_err().contains("brackets"));
        assert!(verdict(&format!("{{ a(x: {}1) }}", "[".repeat(20_000))).unwrap_err().contains("brackets"));
        assert!(verdict(&" ".repeat(BYTES + 1)).unwrap_err().contains("bytes"));
        let many = |arguments: usize| format!("{{ a(x: [{}]) {{ id }} }}", "1, ".repeat(arguments));
        verdict(&many(TOKENS - 15)).unwrap();
        assert!(verdict(&many(TOKENS)).unwrap_err().contains("words and signs"));
    }
}
