from protos.oip import control_pb2 as _control_pb2
from protos.oip import infer_pb2 as _infer_pb2
from protos.oip import metadata_pb2 as _metadata_pb2
from protos.oip import model_config_pb2 as _model_config_pb2
from protos.oip import statistics_pb2 as _statistics_pb2
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor
