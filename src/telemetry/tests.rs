//! In one test, since telemetry is set up once a process: against a collector that speaks OTLP over HTTP.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use ::metrics::{counter, gauge, histogram};
use opentelemetry::global::get_text_map_propagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::*;
use crate::config::Config;

/// Answers every request with 200, and hands on its path and body.
fn collector() -> (url::Url, mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.unwrap());
                while let Some(request) = read_request(&mut reader) {
                    let _ = sender.send(request);
                    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
                }
            });
        }
    });
    (url, received)
}

fn read_request(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let lines: Vec<String> = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let length = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

#[test]
fn traces_continue_and_metrics_go_both_ways() {
    let (url, received) = collector();
    let _may_be_there_already = rustls::crypto::ring::default_provider().install_default();
    let mut config = Config::defaults().unwrap().telemetry;
    config.otlp_endpoint = Some(url);
    let guard = init(&config, "agentworks-test").unwrap();

    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = std::collections::HashMap::from([("traceparent".to_owned(), parent.to_owned())]);
    let span = tracing::info_span!("a.command");
    span.set_parent(get_text_map_propagator(|propagator| propagator.extract(&headers))).unwrap();
    assert_eq!(span.context().span().span_context().trace_id().to_string(), &parent[3..35]);
    drop(span);
    for _ in 0..2 {
        counter!("things_total", "kind" => "a").increment(2);
        gauge!("depth").increment(1.5);
        histogram!("took_seconds").record(0.3);
    }
    counter!("seen_total").absolute(7);
    counter!("seen_total").absolute(5);

    let text = guard.metrics().render();
    for line in ["things_total{kind=\"a\"} 4", "depth 3", "took_seconds_bucket{le=\"0.5\"} 2", "seen_total 7"] {
        assert!(text.contains(line), "{text} lacks {line}");
    }
    assert!(matches!(init(&config, "again"), Err(TelemetryError::Logs(_))));
    guard.shutdown();

    let requests: Vec<_> = received.try_iter().collect();
    let body = |path: &str| &requests.iter().rfind(|(seen, _)| seen == path).unwrap().1[..];
    let traces = ExportTraceServiceRequest::decode(body("/v1/traces")).unwrap();
    let span = &traces.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(span.name, "a.command");
    assert_eq!(span.parent_span_id, [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
    let metrics = ExportMetricsServiceRequest::decode(body("/v1/metrics")).unwrap();
    let metrics = format!("{metrics:?}");
    for part in ["things_total", "AsInt(4)", "depth", "AsDouble(3.0)", "took_seconds", "AsInt(7)", "agentworks-test"] {
        assert!(metrics.contains(part), "{metrics} lacks {part}");
    }
}
