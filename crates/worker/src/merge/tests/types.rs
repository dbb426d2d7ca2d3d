//! Every type of the lake through seed, merge and reading back.

use crate::silver::testbed::{Lake, with_marks};
use crate::types::{BUILT_IN, Carried, Rule};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    make_array,
};
use arrow::compute::{concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, TimeUnit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Arrow types that a built-in type is carried in, and decimals.
fn carried() -> BTreeMap<String, DataType> {
    let decimal = |precision, scale| Carried::Decimal { precision, scale }.arrow_type();
    let mut types: BTreeMap<String, DataType> = BUILT_IN
        .iter()
        .filter_map(|row| match &row.rule {
            Rule::As(carried) => Some(carried.arrow_type()),
            Rule::Numeric | Rule::Refused(_) => None,
        })
        .map(|kind| (kind.to_string(), kind))
        .collect();
    for kind in [decimal(9, 2), decimal(18, 0), decimal(38, 10)] {
        types.insert(kind.to_string(), kind);
    }
    types
}

/// Extreme values, something ordinary, and NULL.
fn values(kind: &DataType) -> ArrayRef {
    match kind {
        DataType::Boolean => Arc::new(BooleanArray::from(vec![Some(true), Some(false), None])),
        DataType::Int32 => Arc::new(Int32Array::from(vec![Some(i32::MIN), Some(i32::MAX), None])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None])),
        DataType::Float32 => Arc::new(Float32Array::from(vec![
            Some(f32::NAN),
            Some(f32::NEG_INFINITY),
            None,
        ])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(-0.1), None])),
        DataType::Decimal128(precision, scale) => {
            let most = 10_i128.pow(u32::from(*precision)) - 1;
            let array = Decimal128Array::from(vec![Some(most), Some(-most), None]);
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        DataType::Date32 => Arc::new(Date32Array::from(vec![
            Some(-800_000),
            Some(2_932_896),
            None,
        ])),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let array = TimestampMicrosecondArray::from(vec![
                Some(-1),
                Some(253_402_300_799_999_999),
                None,
            ]);
            Arc::new(array.with_data_type(kind.clone()))
        }
        DataType::Binary => Arc::new(BinaryArray::from(vec![
            Some(&b"\x00\xff"[..]),
            Some(b""),
            None,
        ])),
        DataType::Utf8 => Arc::new(StringArray::from(vec![Some("häß\u{0}"), Some(""), None])),
        other => panic!("no values of {other}"),
    }
}

fn table(ids: Vec<i32>, first_seq: u64, types: &BTreeMap<String, DataType>) -> RecordBatch {
    let names: Vec<String> = (0..types.len()).map(|at| format!("c{at}")).collect();
    let mut columns: Vec<(&str, ArrayRef)> = vec![("id", Arc::new(Int32Array::from(ids)))];
    columns.extend(
        names
            .iter()
            .zip(types.values())
            .map(|(name, kind)| (name.as_str(), values(kind))),
    );
    with_marks(vec!["I"; 3], (first_seq..first_seq + 3).collect(), columns)
}

#[tokio::test]
async fn every_type_survives_seed_merge_and_reading_back() {
    let types = carried();
    assert_eq!(types.len(), 13, "{types:?}");
    let lake = Lake::new();
    let loaded = table(vec![1, 2, 3], 0, &types);
    lake.load_batch("l1", 0, &loaded);
    lake.seed("s1").await.unwrap();
    let inserted = table(vec![4, 5, 6], 1, &types);
    lake.changes_batch(1, &inserted);
    // A second change to the file group makes the library read what it wrote.
    let updated = table(vec![2, 3, 7], 10, &types);
    lake.changes_batch(2, &updated);
    let one_file = crate::merge::Limits {
        batch_rows: 1,
        ..crate::silver::testbed::quick()
    };
    let report = lake
        .merge_guarded(&crate::silver::testbed::free(), &one_file)
        .await
        .unwrap();
    assert_eq!((report.inserted, report.updated), (4, 2));

    let read = lake.batches().await;
    let read = concat_batches(&read[0].schema(), &read).unwrap();
    let order = sort_to_indices(&read["id"], None, None).unwrap();
    let read = take_record_batch(&read, &order).unwrap();
    let expected: Vec<RecordBatch> = [
        loaded.slice(0, 1),
        updated.slice(0, 2),
        inserted.clone(),
        updated.slice(2, 1),
    ]
    .to_vec();
    let expected = concat_batches(&loaded.schema(), &expected).unwrap();
    let kept = crate::hudi::columns(&loaded.schema());
    for (at, kind) in types.values().enumerate() {
        let name = format!("c{at}");
        let kept = kept.field_with_name(&name).unwrap().data_type();
        let data = expected[name.as_str()].to_data().into_builder();
        let expected = make_array(data.data_type(kept.clone()).build().unwrap());
        assert_eq!(&read[name.as_str()], &expected, "{kind}");
    }
}
