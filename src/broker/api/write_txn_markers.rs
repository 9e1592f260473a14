//! WriteTxnMarkers: a coordinator elsewhere, or an operator, ends transactions in this broker's partitions.

use super::Asked;
use crate::broker::connection::{Ended, Reply};
use crate::broker::markers::{ToMark, write_each};
use crate::coordinator::transaction::Written;
use crate::partition::markers::Marker;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

/// Has each shard write its markers.
pub async fn answer(mut asked: Asked) -> Result<Reply, Ended> {
    let request: WriteTxnMarkersRequest = asked.decode()?;
    let core = asked.client.core.clone();
    let mut written = write_each(&core, request.markers.iter().flat_map(to_mark)).await.into_iter();
    let markers = request.markers.into_iter().map(|marker| {
        let topics = marker.topics.into_iter().map(|topic| {
            let partitions = topic.partition_indexes.into_iter().map(|partition_index| {
                let error_code = match written.next().expect("each part was answered") {
                    Written::Answer(error) => error,
                    Written::Gone => ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
                };
                WritableTxnMarkerPartitionResult { partition_index, error_code }
            });
            WritableTxnMarkerTopicResult { partitions: partitions.collect(), name: topic.name }
        });
        WritableTxnMarkerResult { producer_id: marker.producer_id, topics: topics.collect() }
    });
    asked.reply(&WriteTxnMarkersResponse { markers: markers.collect() })
}

fn to_mark(marker: &WritableTxnMarker) -> impl Iterator<Item = ToMark<'_>> {
    let partitions =
        marker.topics.iter().flat_map(|topic| topic.partition_indexes.iter().map(move |p| (topic, *p)));
    partitions.map(|(topic, partition)| ToMark {
        topic: &topic.name,
        partition,
        marker: Marker {
            producer_id: marker.producer_id,
            producer_epoch: marker.producer_epoch,
            commit: marker.transaction_result,
            coordinator_epoch: marker.coordinator_epoch,
        },
        transaction_version: marker.transaction_version.into(),
    })
}
