//! The same stories of files on this machine and in a bucket.

use super::{Location, NewFile, location};
use crate::test_moto::moto;
use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::sync::Arc;

/// A new folder of this machine and a new bucket, each with a folder in it that is named oddly.
struct Places {
    places: Vec<Location>,
    _folder: tempfile::TempDir,
}

fn places() -> Places {
    let folder = tempfile::tempdir().expect("a folder");
    let on_disk = format!("file://{}", folder.path().display());
    let at = |base: &str| location(&format!("{base}/a lake/100%25/größe")).expect("a place");
    Places {
        places: vec![at(&on_disk), at(&moto().bucket())],
        _folder: folder,
    }
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.expect_err("a failure").kind()
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    for place in places().places {
        let file = place.join("run=1/part-0.parquet");
        let mut new = NewFile::create(&file).expect("begun");
        new.write_all(b"half").expect("written");
        assert_eq!(kind(file.read()), ErrorKind::NotFound, "{place}");
        assert!(place.data_files().expect("listed").is_empty(), "{place}");
        new.write_all(b" and whole").expect("written");
        assert_eq!(new.commit().expect("committed"), 14);
        assert_eq!(file.read().expect("read"), b"half and whole");
        assert_eq!(file.bytes().expect("sized"), 14);

        let mut given_up = NewFile::create(&file).expect("begun");
        given_up.write_all(b"never seen").expect("written");
        drop(given_up);
        assert_eq!(file.read().expect("read"), b"half and whole", "{place}");
        file.put(b"another").expect("put");
        assert_eq!(file.read().expect("read"), b"another", "{place}");
    }
}

#[test]
fn a_large_file_is_written_in_parts_and_read_back_as_it_was() {
    let bytes: Vec<u8> = (0..(40_u32 << 20) / 4).flat_map(u32::to_le_bytes).collect();
    for place in places().places {
        let mut new = NewFile::create(&place.join("large")).expect("begun");
        new.write_all(&bytes).expect("written");
        assert_eq!(new.commit().expect("committed"), bytes.len() as u64);
        let mut file = place.join("large").open().expect("opened");
        place.join("large").remove_file().expect("removed");
        for _ in 0..2 {
            let mut read = Vec::new();
            file.rewind().expect("from the start");
            file.read_to_end(&mut read).expect("read");
            assert!(read == bytes, "{place}");
        }
    }
}

#[test]
fn a_listing_has_the_data_files_at_any_depth_and_nothing_of_neighbours() {
    for place in places().places {
        let table = place.join("orders");
        for name in [
            "orders/20271124/b.parquet",
            "orders/20271124/a.parquet",
            "orders/part b=1/c.parquet",
            "orders/_manifest.json",
            "orders/20271124/.hidden.parquet",
            "orders/.hoodie/x.parquet",
            "orders_2/d.parquet",
        ] {
            place.join(name).put(b"12345").expect("put");
        }
        assert_eq!(
            table.data_files().expect("listed"),
            [
                ".hoodie/x.parquet",
                "20271124/a.parquet",
                "20271124/b.parquet",
                "part b=1/c.parquet"
            ],
            "{place}"
        );
        assert_eq!(table.stored_bytes().expect("sized"), 20);
        let mut folders: Vec<String> = table
            .folders()
            .expect("listed")
            .iter()
            .map(Location::name)
            .collect();
        folders.sort();
        assert_eq!(folders, [".hoodie", "20271124", "part b=1"], "{place}");
        assert_eq!(
            table.folders().expect("listed").iter().max(),
            Some(&table.join("part b=1"))
        );
    }
}

#[test]
fn what_is_not_there_is_not_found_lists_as_nothing_and_is_removed_already() {
    for place in places().places {
        let gone = place.join("gone");
        assert_eq!(kind(gone.read()), ErrorKind::NotFound, "{place}");
        assert_eq!(kind(gone.open()), ErrorKind::NotFound, "{place}");
        assert_eq!(kind(gone.bytes()), ErrorKind::NotFound, "{place}");
        assert_eq!(kind(gone.modified()), ErrorKind::NotFound, "{place}");
        assert_eq!(kind(gone.newest_change()), ErrorKind::NotFound, "{place}");
        assert!(gone.data_files().expect("listed").is_empty());
        assert!(gone.folders().expect("listed").is_empty());
        gone.remove_file().expect("removed");
        gone.remove_folder().expect("removed");
    }
}

#[test]
fn a_folder_is_removed_with_all_below_it_and_its_neighbours_stay() {
    for place in places().places {
        for name in [
            "g=1/a",
            "g=1/.hoodie/b",
            "g=1/.hoodie/.temp/c",
            "g=10/a",
            "g",
        ] {
            place.join(name).put(b"1").expect("put");
        }
        place.join("g=1").remove_folder().expect("removed");
        assert_eq!(
            place.data_files().expect("listed"),
            ["g", "g=10/a"],
            "{place}"
        );
    }
}

#[test]
fn a_change_below_a_folder_is_not_older_than_the_folder() {
    for place in places().places {
        place.join("a").put(b"1").expect("put");
        let changed = place.newest_change().expect("a time");
        assert!(changed >= place.join("a").modified().expect("a time"));
    }
}

#[test]
fn rows_and_bytes_are_measured_by_the_footer_however_large_it_is() {
    let wide = |columns: usize, rows: i32| {
        let column = |n: usize| -> (String, ArrayRef) {
            let values: Int32Array = (0..rows).collect();
            (
                format!("a column with a long name, number {n}"),
                Arc::new(values),
            )
        };
        let batch = RecordBatch::try_from_iter((0..columns).map(column)).expect("a batch");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("closed")
    };
    let (small, large) = (wide(1, 7), wide(1500, 3));
    for place in places().places {
        place.join("small").put(&small).expect("put");
        place.join("large").put(&large).expect("put");
        place.join("none").put(b"no Parquet").expect("put");
        let names = ["large", "small"].map(str::to_owned);
        let measured = place.measured(&names).expect("measured");
        let expected = [(3, large.len() as u64), (7, small.len() as u64)];
        assert_eq!(
            measured
                .iter()
                .map(|file| (file.rows, file.bytes))
                .collect::<Vec<_>>(),
            expected,
            "{place}"
        );
        for bad in ["none", "gone"] {
            let failure = place.measured(&["small".to_owned(), bad.to_owned()]);
            assert_eq!(failure.expect_err("a failure").name, bad, "{place}");
        }
    }
}

#[test]
fn only_folders_and_buckets_are_places() {
    for uri in [
        "s3://",
        "s3:///key",
        "file://relative",
        "gs://bucket/key",
        "/lake",
    ] {
        let failure = location(uri).expect_err(uri);
        assert_eq!(failure.error, "SchemeUnknown");
        assert!(failure.message.contains(uri), "{failure}");
    }
}
