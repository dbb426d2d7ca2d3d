//! Memory is bounded whatever the table: batches, row groups and files end by their bytes.

use super::*;
use parquet::file::reader::{FileReader, SerializedFileReader};
use std::sync::Mutex;

/// Keeps what it was told.
#[derive(Default)]
struct Told(Mutex<Vec<(u64, u64)>>);

impl Progress for Told {
    fn expect(&self, rows: u64) {
        assert_eq!(rows, 4000);
    }

    fn add(&self, rows: u64, bytes: u64) {
        self.0.lock().expect("a lock").push((rows, bytes));
    }
}

#[tokio::test]
async fn batches_row_groups_and_files_end_by_their_bytes() {
    const ROW_BYTES: u64 = 3 * 1024 + 16;
    let mut scene = Scene::new(
        "CREATE TABLE wide (id int, body text);
         INSERT INTO wide SELECT n, (SELECT string_agg(md5(n || ' ' || m), '') FROM generate_series(1, 96) AS m)
           FROM generate_series(1, 4000) AS n; ANALYZE wide",
    )
    .await;
    scene.limits.batch.bytes = 64 * 1024;
    scene.limits.row_groups_bytes = 3 * 256 * 1024;
    scene.limits.file_bytes = 1024 * 1024;
    let table = Scene::table("wide");
    let told = Told::default();
    scene
        .load_watched("a", &table, &Free, &told)
        .await
        .expect("a load");

    let told = told.0.into_inner().expect("a lock");
    assert_eq!(told.iter().map(|(rows, _)| rows).sum::<u64>(), 4000);
    let largest = told.iter().map(|(_, bytes)| *bytes).max().expect("batches");
    assert!(largest < 64 * 1024 + ROW_BYTES, "{largest}");

    let manifest = scene.manifest("a", &table);
    assert!(manifest.files.len() > 3, "{:?}", manifest.files);
    let folder = scene.loads(&table).join("run=a");
    for file in &manifest.files {
        assert!(file.bytes < 1536 * 1024, "{file:?}");
        let file = fs::File::open(folder.join(&file.name)).expect("a file");
        let reader = SerializedFileReader::new(file).expect("a Parquet file");
        for group in reader.metadata().row_groups() {
            assert!(
                group.total_byte_size() < 512 * 1024,
                "{}",
                group.total_byte_size()
            );
        }
    }
    assert_eq!(scene.rows("a", &table).num_rows(), 4000);
}
