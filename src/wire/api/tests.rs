use super::*;
use crate::wire::error::ErrorCode;
use crate::wire::schema::{ApiVersionsRequest, ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse};

#[test]
fn numbers_and_names() {
    assert_eq!(ApiKey::from_number(18), Some(ApiKey::ApiVersions));
    // LeaderAndIsr to ControlledShutdown are gone.
    for gone in [-1, 4, 5, 6, 7, 93, i16::MAX] {
        assert_eq!(ApiKey::from_number(gone), None);
    }
    for api in ApiKey::ALL {
        assert_eq!(ApiKey::from_number(api.number()), Some(*api));
        assert!(api.on_broker() || api.on_controller());
    }
    assert_eq!(ApiKey::ALL.len(), 89);
    assert_eq!(ApiKey::OffsetForLeaderEpoch.to_string(), "OffsetForLeaderEpoch");
}

#[test]
fn produce_is_told_from_version_0_on() {
    assert_eq!(ApiKey::Produce.advertised(), 0..=13);
    assert_eq!(ApiKey::Produce.versions(), 3..=13);
    assert_eq!(ApiKey::Fetch.advertised(), 4..=18);
}

#[test]
fn header_versions_follow_the_api() {
    let both = |api: ApiKey, v| (api.request_header_version(v), api.response_header_version(v));
    assert_eq!(both(ApiKey::Fetch, 11), (1, 0));
    assert_eq!(both(ApiKey::Fetch, 12), (2, 1));
    assert_eq!(both(ApiKey::ApiVersions, 2), (1, 0));
    assert_eq!(both(ApiKey::ApiVersions, 4), (2, 0));
    assert_eq!(both(ApiKey::SaslHandshake, 1), (1, 0));
    // A version that is not known yet is flexible where the last one is.
    assert_eq!(both(ApiKey::ApiVersions, 99), (2, 0));
}

#[test]
fn frames_go_round() {
    let request = HeartbeatRequest { group_id: "g".into(), generation_id: 7, ..Default::default() };
    for version in 0..=4 {
        let frame = request_frame(&request, version, 42, Some("me")).unwrap().concat();
        let (size, frame) = frame.split_at(4);
        assert_eq!(i32::from_be_bytes(size.try_into().unwrap()) as usize, frame.len());
        let mut r = Reader::new(Bytes::copy_from_slice(frame));
        let header = RequestHeader::decode(&mut r).unwrap();
        let client_id = Some("me".to_owned());
        assert_eq!(header, RequestHeader { api: ApiKey::Heartbeat, version, correlation_id: 42, client_id });
        assert_eq!(HeartbeatRequest::decode(&mut r, version).unwrap(), request);
        r.finish().unwrap();

        let response =
            HeartbeatResponse { error_code: ErrorCode::REBALANCE_IN_PROGRESS, ..Default::default() };
        let frame: Bytes = response_frame(&response, version, 42).unwrap().concat().into();
        assert_eq!(read_response::<HeartbeatResponse>(frame.slice(4..), version).unwrap(), (42, response));
    }
}

#[test]
fn the_answer_to_api_versions_can_be_read_by_those_who_know_version_0_only() {
    let response = ApiVersionsResponse { error_code: ErrorCode::UNSUPPORTED_VERSION, ..Default::default() };
    let frame = response_frame(&response, 0, 1).unwrap().concat();
    assert_eq!(frame, [0, 0, 0, 10, 0, 0, 0, 1, 0, 35, 0, 0, 0, 0]);
    // Flexible body, header without tagged fields.
    let frame = response_frame(&response, 4, 1).unwrap().concat();
    assert_eq!(frame, [0, 0, 0, 12, 0, 0, 0, 1, 0, 35, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_header_keeps_a_null_client_and_skips_tagged_fields() {
    let bytes = [0, 18, 0, 3, 0, 0, 0, 9, 0xff, 0xff, 1, 5, 2, 1, 1, 0xee];
    let mut r = Reader::new(Bytes::copy_from_slice(&bytes));
    let header = RequestHeader::decode(&mut r).unwrap();
    assert_eq!((header.client_id, r.left()), (None, 1));
    let mut r = Reader::new(Bytes::copy_from_slice(&[0, 4, 0, 3, 0, 0, 0, 9, 0xff, 0xff]));
    assert_eq!(RequestHeader::decode(&mut r).unwrap_err().reason(), &Reason::Unknown(4));
}

#[test]
fn versions_that_are_not_known_are_refused_both_ways() {
    let mut r = Reader::new(Bytes::new());
    assert_eq!(ApiVersionsRequest::decode(&mut r, 5).unwrap_err().reason(), &Reason::Version(5));
    let refused = ApiVersionsRequest::default().encode(&mut Writer::new(), 5).unwrap_err();
    assert_eq!(refused.refusal(), &Refusal::Version("ApiVersionsRequest", 5));
}
