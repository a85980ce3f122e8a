//! An export that is restored is the log that it came from.

use agentworks::export::{Until, import};
use schemas::evidence::export::Kind;

use crate::packed::Packed;
use crate::world::{World, keys};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_restored_equal_and_still_deduplicates() {
    let mut from = World::new().await;
    from.fill(60, 4, 7).await;
    let file = from.export(from.tenant, &[2, 1]).await;
    let to = World::new().await;
    let mut heard = vec![];
    let imported =
        import(&to.log, &file, &keys(&[1]).public(), &mut |done, all| heard.push((done, all))).await.unwrap();
    assert_eq!((imported.present, imported.report.manifest.events, imported.report.vouched), (0, 240, true));
    assert!(imported.checkpoints >= 9, "{imported:?}");
    assert_eq!(heard.last(), Some(&(240, 240)));

    let (was, is) = (
        from.log.read_tenant(from.tenant, 0, 999).await.unwrap(),
        to.log.read_tenant(from.tenant, 0, 999).await.unwrap(),
    );
    assert_eq!(was.len(), is.len());
    for (was, is) in was.iter().zip(&is) {
        assert_eq!((was.digest, was.chain, was.id), (is.digest, is.chain, is.id));
        assert_eq!((was.payload.get(), &was.metadata), (is.payload.get(), &is.metadata));
        let (was, is) = (
            from.log.command(from.tenant, was.metadata.command).await.unwrap().unwrap(),
            to.log.command(from.tenant, was.metadata.command).await.unwrap().unwrap(),
        );
        assert_eq!((was.fingerprint, was.appended.version), (is.fingerprint, is.appended.version));
    }
    // A second import finds all there.
    let again = import(&to.log, &file, &[], &mut |_, _| {}).await.unwrap();
    assert_eq!(again.present, 240);
    // And what is restored can be exported and restored again.
    let file = to.export(from.tenant, &[9]).await;
    let third = World::new().await;
    assert_eq!(
        import(&third.log, &file, &keys(&[9]).public(), &mut |_, _| {}).await.unwrap().report.root,
        imported.report.root
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_was_killed_goes_on_and_another_tenant_log_is_refused() {
    let mut from = World::new().await;
    from.fill(40, 3, 9).await;
    let file = from.export(from.tenant, &[1]).await;
    let position = from.log.read_tenant(from.tenant, 59, 1).await.unwrap()[0].position;
    let part = from.export_until(from.tenant, &[1], Until::Position(position)).await.unwrap();
    let to = World::new().await;
    let partly = import(&to.log, &part, &[], &mut |_, _| {}).await.unwrap().report.manifest.events;
    assert!(partly > 30 && partly < 120, "{partly}");
    let all = import(&to.log, &file, &[], &mut |_, _| {}).await.unwrap();
    assert_eq!((all.present, all.report.manifest.events), (partly, 120));
    // It has more now than the part.
    let error = import(&to.log, &part, &[], &mut |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("more events than the export"), "{error}");

    // A tenant that has its own events.
    let mut other = World::new().await;
    other.tenant = from.tenant;
    other.fill(3, 1, 9).await;
    let error = import(&other.log, &file, &[], &mut |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("empty tenant"), "{error}");
    assert_eq!(other.log.read_tenant(from.tenant, 0, 99).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_restored_from_an_export_that_is_not_right() {
    let mut from = World::new().await;
    from.fill(10, 1, 9).await;
    let mut export = Packed::open(&from.export(from.tenant, &[1]).await);
    export.change(9, |lines, nth| lines[nth] = lines[nth].replace("name 0", "name 1"));
    let to = World::new().await;
    let file = export.pack(to.folder.path());
    let error = import(&to.log, &file, &[], &mut |_, _| {}).await.unwrap_err().to_string();
    assert!(error.contains("edited at index 9"), "{error}");
    assert!(to.log.read_tenant(from.tenant, 0, 9).await.unwrap().is_empty());
    let error = export.check(&[]).unwrap_err();
    assert_eq!(error.kind, Kind::Edited);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_without_events_is_a_clear_error() {
    let mut world = World::new().await;
    world.fill(1, 1, 9).await;
    let nobody = domain::TenantId::from_uuid(crate::world::uuid());
    let error = world.export_until(nobody, &[1], Until::Now).await.unwrap_err().to_string();
    assert!(error.contains("has no events") && error.contains(&nobody.to_string()), "{error}");
}
