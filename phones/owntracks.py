"""OwnTracks, HTTP mode: one JSON object per request.

Source: https://owntracks.org/booklet/tech/json and /tech/http.
"""

from phones.reading import NO_OBJECT, PhoneRequest, Reading, from_seconds, json_object

ANSWER: list[str] = []  # the app keeps a message for ever if the answer is not an array
ENCRYPTED = "The message is encrypted. Remove the encryption key from the app's settings."


def read(request: PhoneRequest, reading: Reading) -> None:
    """Messages of other types, such as waypoints, are no positions. An empty body is a deleted friend."""
    if not request.body.strip():
        return
    message = json_object(request.body)
    if message is None:
        reading.refuse(request.user, NO_OBJECT)
        return
    match message.get("_type"):
        case "location":
            reading.add(
                request.user,
                time=message.get("tst"),
                latitude=message.get("lat"),
                longitude=message.get("lon"),
                accuracy=message.get("acc"),
                read_time=from_seconds,
            )
        case "encrypted":
            reading.refuse(request.user, ENCRYPTED)
        case str():
            pass
        case _:
            reading.refuse(request.user, "_type: This field is required.")
