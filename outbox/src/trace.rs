//! W3C trace context: from a `traceparent` to the span that goes on with it, and from a span to the `traceparent` that
//! travels on.

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use schemas::Recorded;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Links that one span may carry.
const MAX_LINKS: usize = 32;
/// Events of a page that are looked at for them.
const MAX_LOOKED_AT: usize = 256;

/// Ties a span to what caused the events: their parent when it is one event, links to the distinct traces otherwise.
pub(crate) fn tie<'a>(span: &Span, events: impl ExactSizeIterator<Item = &'a Recorded>) {
    let alone = events.len() == 1;
    let mut seen = Vec::new();
    for context in events.take(MAX_LOOKED_AT).filter_map(|event| parse(event.metadata.traceparent.as_deref()?)) {
        if alone {
            // Fails only where no tracing layer is installed: nothing to tie then.
            let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(context));
        } else if !seen.contains(&context.trace_id()) {
            seen.push(context.trace_id());
            span.add_link(context);
            if seen.len() == MAX_LINKS {
                return;
            }
        }
    }
}

/// Makes `span`, which must be new, a child of what `traceparent` names, when that is a trace context.
pub fn continue_from(span: &Span, traceparent: Option<&str>) {
    if let Some(remote) = traceparent.and_then(parse) {
        // Fails only where no tracing layer is installed: nothing to continue then.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(remote));
    }
}

/// The current span as a `traceparent`, when it is traced.
pub fn current() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8()))
}

/// The `traceparent` of what happens now: the current span's, else the one that was given, when it is one.
pub fn parent(given: Option<&str>) -> Option<String> {
    current().or_else(|| given.filter(|text| parse(text).is_some()).map(str::to_owned))
}

/// `00-<32 hex>-<16 hex>-<2 hex>`; anything else is no trace context.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || trace.len() != 32 || span.len() != 16 || flags.len() != 2 || parts.next().is_some() {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::default());
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_traceparent_is_read_and_anything_else_is_not() {
        let context = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert!(context.is_remote() && context.is_sampled());
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }
}
