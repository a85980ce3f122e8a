//! What a client likes to be answered in: the header `Accept` (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// Which of the offered media types the client likes best: of equals one that it names over one that it merely does not
/// mind, and then the first. The first as well when it says nothing; `None` when it takes none of them.
pub(crate) fn best(headers: &HeaderMap, offered: &[&'static str]) -> Option<&'static str> {
    let values: Vec<_> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() {
        return offered.first().copied();
    }
    let ranges: Vec<_> = values.iter().flat_map(|value| value.split(',')).filter_map(range).collect();
    let liked = |kind: &str| (weight(kind, &ranges), ranges.iter().any(|(known, _)| known == kind));
    let order = |a: &(f32, bool), b: &(f32, bool)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let best = offered.iter().rev().max_by(|a, b| order(&liked(a), &liked(b)))?;
    (liked(best).0 > 0.0).then_some(*best)
}

/// A media range and its weight.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?.to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |weight| weight.parse().ok());
    Some((range, weight?))
}

/// How much a media type is liked: the most specific range decides.
fn weight(media_type: &str, ranges: &[(String, f32)]) -> f32 {
    let any_of_kind = media_type.split('/').next().map(|kind| format!("{kind}/*")).unwrap_or_default();
    let of = |range: &str| ranges.iter().find(|(known, _)| known == range).map(|(_, weight)| *weight);
    of(media_type).or_else(|| of(&any_of_kind)).or_else(|| of("*/*")).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSE: &str = "text/event-stream";
    const LINES: &str = "application/x-ndjson";

    #[test]
    fn the_form_that_a_client_likes_best_is_found() {
        let wanted = |accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            best(&headers, &[SSE, LINES])
        };
        assert_eq!(best(&HeaderMap::new(), &[SSE, LINES]), Some(SSE));
        for accept in [
            "*/*",
            "text/*",
            "Text/Event-Stream",
            "application/x-ndjson;q=0.5, text/event-stream",
            "text/event-stream, */*;q=0.1",
        ] {
            assert_eq!(wanted(accept), Some(SSE), "{accept}");
        }
        for accept in [
            "application/x-ndjson",
            "application/*",
            "application/x-ndjson, */*; q=0.1",
            "text/event-stream;q=0, */*",
            "application/x-ndjson, */*",
        ] {
            assert_eq!(wanted(accept), Some(LINES), "{accept}");
        }
        for accept in ["application/json", "text/html", "*/*;q=0", "", "text/event-stream;q=x"] {
            assert_eq!(wanted(accept), None, "{accept}");
        }
    }
}
