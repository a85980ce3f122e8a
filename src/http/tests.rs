use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{ConnectInfo, ws::WebSocketUpgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<io::Result<()>>,
}

async fn run(router: Router, grace: Duration) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
    let server = tokio::spawn(serve(listener, router, shutdown.clone(), grace));
    Running { address, shutdown, server }
}

impl Running {
    /// Sends a request and gives the open connection.
    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{request}\r\nhost: h\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }

    /// The whole answer, head and body.
    async fn get(&self, path: &str) -> String {
        let mut text = String::new();
        let request = format!("GET {path} HTTP/1.1\r\nconnection: close");
        self.send(&request).await.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn ends_within(self, limit: Duration) {
        timeout(limit, self.server).await.expect("the server ends").unwrap().unwrap();
    }
}

const SOON: Duration = Duration::from_secs(5);

fn metrics() -> PrometheusHandle {
    metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle()
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_no_new_one_taken() {
    let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (inside, wait) = (Arc::clone(&entered), Arc::clone(&release));
    let slow = async move |ConnectInfo(Peer(peer)): ConnectInfo<Peer>| {
        inside.notify_one();
        wait.notified().await;
        peer.ip().to_string()
    };
    let running = run(Router::new().route("/slow", get(slow)), SOON).await;
    let mut stream = running.send("GET /slow HTTP/1.1").await;
    entered.notified().await;
    running.shutdown.cancel();
    // The listener is closed as soon as the server has seen the token.
    while TcpStream::connect(running.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    release.notify_one();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"), "{answer}");
    running.ends_within(SOON).await;
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut() {
    let endless = async || {
        let chunk = || Ok::<_, io::Error>(axum::body::Bytes::from(vec![0; 65_536]));
        axum::body::Body::from_stream(futures::stream::repeat_with(chunk))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, open) = (listener.local_addr().unwrap(), TaskTracker::new());
    // Long, so that a busy machine does not make a client that reads look like one that does not.
    let stalled = Duration::from_secs(2);
    let connections = Connections { listener, open: open.clone(), cut: CancellationToken::new(), stalled };
    let server = axum::serve(connections, Router::new().route("/endless", get(endless)));
    tokio::spawn(server.into_future());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nhost: h\r\n\r\n").await.unwrap();
    // Who reads is not cut, however long it takes.
    let mut some = vec![0; 1_000_000];
    for _ in 0..6 {
        stream.read_exact(&mut some).await.unwrap();
        tokio::time::sleep(stalled / 4).await;
    }
    open.close();
    timeout(SOON, open.wait()).await.expect("the connection is cut");
}

#[tokio::test]
async fn what_does_not_end_is_cut_after_the_grace() {
    let never = get(async || std::future::pending::<()>().await);
    let socket = get(async |upgrade: WebSocketUpgrade| {
        upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
    });
    let running = run(Router::new().route("/never", never).route("/socket", socket), Duration::from_millis(50)).await;
    let mut never = running.send("GET /never HTTP/1.1").await;
    let upgrade = "GET /socket HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let mut socket = running.send(upgrade).await;
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    running.shutdown.cancel();
    running.ends_within(SOON).await;
    let mut rest = Vec::new();
    let _reset_or_end = never.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    let _reset_or_end = socket.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn readiness_names_what_fails_and_keeps_the_reason_to_itself() {
    let healthy = Arc::new(AtomicBool::new(false));
    let bus = Arc::clone(&healthy);
    let readiness = Readiness::new().check("database", async || Ok(())).check("bus", move || {
        let healthy = bus.load(Ordering::Relaxed);
        async move { if healthy { Ok(()) } else { Err("secret-host refused".to_owned()) } }
    });
    let running = run(operations(readiness, metrics()), SOON).await;
    assert!(running.get("/livez").await.ends_with("\r\n\r\nok"));
    let unready = running.get("/readyz").await;
    assert!(unready.starts_with("HTTP/1.1 503") && !unready.contains("secret-host"), "{unready}");
    assert!(unready.contains(r#""database":"ok""#) && unready.contains(r#""bus":"failing""#), "{unready}");
    healthy.store(true, Ordering::Relaxed);
    let ready = running.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200") && ready.contains(r#""ready":true"#), "{ready}");
    assert!(running.get("/metrics").await.contains("text/plain; version=0.0.4"));
}

#[tokio::test]
async fn a_check_that_hangs_has_failed() {
    tokio::time::pause();
    let readiness = Readiness::new().check("stuck", std::future::pending);
    assert_eq!(readiness.answer().await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_panic_becomes_a_problem_with_an_id_and_nothing_else() {
    let broken = get(async || -> &'static str { panic!("password=hunter2") });
    let running = run(observed(Router::new().route("/broken/{id}", broken)), SOON).await;
    let answer = running.get("/broken/1").await;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("application/problem+json"), "{answer}");
    assert!(answer.contains(r#""code":"internal""#) && answer.contains("x-request-id: "), "{answer}");
    assert!(!answer.contains("hunter2"), "{answer}");
}

#[tokio::test]
async fn a_tame_request_id_is_taken_over_and_a_wild_one_is_not() {
    let router =
        Router::new().route("/id", get(async |headers: HeaderMap| headers[REQUEST_ID].clone().as_bytes().to_vec()));
    let running = run(observed(router), SOON).await;
    for (sent, kept) in [("abc-1", true), ("a b", false), ("ada-lovelace", false), (&*"a".repeat(129), false)] {
        let request = format!("GET /id HTTP/1.1\r\nconnection: close\r\nx-request-id: {sent}");
        let mut answer = String::new();
        running.send(&request).await.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.ends_with(&format!("\r\n\r\n{sent}")), kept, "{answer}");
        assert_eq!(answer.contains(&format!("x-request-id: {sent}\r\n")), kept, "{answer}");
    }
}

#[test]
fn requests_are_counted_by_route_and_never_by_path() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    ::metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let router = Router::new().route("/cards/{card}", get(async || StatusCode::NO_CONTENT));
            let running = run(observed(router), SOON).await;
            running.get("/cards/crd_1").await;
            running.get("/cards/crd_2").await;
            running.get("/nowhere").await;
        });
    });
    let text = handle.render();
    assert!(text.contains(r#"http_requests_total{method="GET",route="/cards/{card}",status="204"} 2"#), "{text}");
    assert!(text.contains(r#"http_requests_total{method="GET",route="unmatched",status="404"} 1"#), "{text}");
    assert!(!text.contains("crd_1"), "{text}");
}
