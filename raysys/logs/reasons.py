"""The closed list of reasons for which a row of a log is put into quarantine."""

from enum import StrEnum


class Reason(StrEnum):
    """One word for the program; `sentence` says the same to a person."""

    NULL_ID = "null_id"
    EMPTY_ID = "empty_id"
    FLOAT_ID = "float_id"
    ID_TOO_LONG = "id_too_long"
    NULL_TIMESTAMP = "null_timestamp"
    BAD_TIMESTAMP = "bad_timestamp"
    NEGATIVE_TIMESTAMP = "negative_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    EVENT_TYPE_TOO_LONG = "event_type_too_long"
    BAD_EVENT_VALUE = "bad_event_value"
    NULL_VALUE = "null_value"
    BAD_INTEGER = "bad_integer"
    BAD_NUMBER = "bad_number"
    BAD_BOOLEAN = "bad_boolean"
    VALUE_TOO_LONG = "value_too_long"
    BAD_ENCODING = "bad_encoding"
    NUL_BYTE = "nul_byte"
    WRONG_COLUMN_COUNT = "wrong_column_count"
    REPEATED_HEADER = "repeated_header"
    UNCLOSED_QUOTE = "unclosed_quote"
    BAD_JSON = "bad_json"
    WRONG_TYPE = "wrong_type"
    ROW_TOO_LONG = "row_too_long"

    @property
    def sentence(self) -> str:
        """What is wrong and, where there is one, the usual cause."""
        return _SENTENCES[self]


MAX_ID_LENGTH = 256
"""In characters, for ids and event types alike."""

MAX_VALUE_LENGTH = 1_000
"""In characters, for impressions and categorical values, as Personalize has it."""

_SENTENCES = {
    Reason.NULL_ID: "The id is missing.",
    Reason.EMPTY_ID: "The id is an empty text or white space only.",
    Reason.FLOAT_ID: (
        "The id is a floating-point number, and 12.0 is not the id 12; write ids as text or as "
        "integers. (In a Parquet file, a column of text may hold such ids.)"
    ),
    Reason.ID_TOO_LONG: f"The id has more than {MAX_ID_LENGTH} characters.",
    Reason.NULL_TIMESTAMP: "The time is missing.",
    Reason.BAD_TIMESTAMP: (
        "The time is not a number of seconds since 1970-01-01 UTC. (In a Parquet file or a query, "
        "a column of timestamps may hold it.)"
    ),
    Reason.NEGATIVE_TIMESTAMP: "The time lies before 1970-01-01 UTC.",
    Reason.TIMESTAMP_OUT_OF_RANGE: "The time lies after the year 2099.",
    Reason.EVENT_TYPE_TOO_LONG: f"The event type has more than {MAX_ID_LENGTH} characters.",
    Reason.BAD_EVENT_VALUE: "The event value is not a finite number.",
    Reason.NULL_VALUE: "The value is missing, and the schema allows no null here.",
    Reason.BAD_INTEGER: "The value is not a whole number of its type (int 32 bits, long 64 bits).",
    Reason.BAD_NUMBER: "The value is not a finite number.",
    Reason.BAD_BOOLEAN: "The value is none of true, false, 1 and 0.",
    Reason.VALUE_TOO_LONG: f"The value has more than {MAX_VALUE_LENGTH:,} characters.",
    Reason.BAD_ENCODING: "The text is not UTF-8.",
    Reason.NUL_BYTE: "The text holds a NUL byte.",
    Reason.WRONG_COLUMN_COUNT: "The row has not as many columns as the header.",
    Reason.REPEATED_HEADER: "The row repeats the header, as in files put one after the other.",
    Reason.UNCLOSED_QUOTE: "A quotation mark is opened and never closed.",
    Reason.BAD_JSON: "The line is not one whole JSON object.",
    Reason.WRONG_TYPE: "A value of this kind cannot stand in this column.",
    Reason.ROW_TOO_LONG: "The row has no end within the longest row that is read.",
}
