//! What buckets must do.

use super::InFolder;
use crate::moto;
use std::ops::Deref;
use tasks::port::{Object, Objects};

/// Empty buckets, made anew for each story, and a folder in them.
async fn keeps_the_contract<H: Deref<Target: Objects + Sized>>(
    empty: impl AsyncFn() -> (H, String),
) {
    let (objects, base) = empty().await;
    an_object_is_read_as_it_was_put_last(&*objects, &base).await;
    let (objects, base) = empty().await;
    odd_names_are_names_like_others(&*objects, &base).await;
    let (objects, base) = empty().await;
    a_list_has_all_that_is_below_in_order(&*objects, &base).await;
}

async fn an_object_is_read_as_it_was_put_last(objects: &impl Objects, base: &str) {
    let uri = format!("{base}/runs/a/plan.json");
    assert_eq!(objects.read(&uri).await, Ok(None));
    let every_byte: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    for bytes in [b"first".as_slice(), b"", &every_byte] {
        objects.put(&uri, bytes).await.expect("put");
        assert_eq!(objects.read(&uri).await, Ok(Some(bytes.to_vec())));
    }
    assert_eq!(objects.read(&format!("{base}/runs")).await, Ok(None));
    assert_eq!(objects.read(&format!("{uri}/none")).await, Ok(None));
}

async fn odd_names_are_names_like_others(objects: &impl Objects, base: &str) {
    let names = [
        "order line",
        "a%2Fb",
        "run=a+b",
        "what?#",
        "d\u{fc}nn",
        "(1)~'&",
    ];
    for name in names {
        let uri = format!("{base}/{name}/{name}.parquet");
        objects.put(&uri, name.as_bytes()).await.expect("put");
        assert_eq!(objects.read(&uri).await, Ok(Some(name.into())), "{name}");
        let expected = Object {
            uri,
            bytes: name.len() as u64,
        };
        let listed = objects.list_objects(&format!("{base}/{name}")).await;
        assert_eq!(listed, Ok(vec![expected]), "{name}");
    }
}

/// moto's pages are small; S3's are of 1,000 objects.
async fn a_list_has_all_that_is_below_in_order(objects: &impl Objects, base: &str) {
    let mut expected: Vec<String> = (0..30)
        .map(|number| format!("{base}/orders/{}/{number:02}.parquet", number % 3))
        .collect();
    for uri in &expected {
        objects.put(uri, b"change").await.expect("put");
    }
    for beside in ["orders.parquet", "orders_archive/0.parquet", "order/0"] {
        let uri = format!("{base}/{beside}");
        objects.put(&uri, b"other").await.expect("put");
    }
    expected.sort();
    for uri in [format!("{base}/orders"), format!("{base}/orders/")] {
        let listed = objects.list_objects(&uri).await.expect("listed");
        assert!(listed.iter().all(|object| object.bytes == 6));
        let uris: Vec<String> = listed.into_iter().map(|object| object.uri).collect();
        assert_eq!(uris, expected);
    }
    let all = objects.list_objects(base).await.expect("listed");
    assert_eq!(all.len(), expected.len() + 3);
    assert_eq!(
        objects.list_objects(&format!("{base}/none")).await,
        Ok(Vec::new())
    );
}

#[tokio::test]
async fn memory_keeps_the_objects_contract() {
    keeps_the_contract(async || {
        let world = Box::new(sim::world::World::default());
        (world, "file:///lake".to_owned())
    })
    .await;
}

#[tokio::test]
async fn folders_keep_the_objects_contract() {
    keeps_the_contract(async || {
        let folder = InFolder::new();
        let lake = folder.lake();
        (folder, lake)
    })
    .await;
}

#[tokio::test]
async fn s3_keeps_the_objects_contract() {
    keeps_the_contract(async || {
        let aws = Box::new(moto::stack("objects").await);
        let base = format!("s3://{}-runtime", aws.resources().stack);
        (aws, base)
    })
    .await;
}
