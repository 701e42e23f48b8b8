"""The rule of re-identification: what a query's own camera took of the same identity is no reference."""

from keras_epos._rows import codes, describe


def camera_ids(labels, gallery_labels, cameras, gallery_cameras, ids, gallery_ids):
    """`ids` and `gallery_ids` under which images of one identity by one camera are one item; or as they are.

    Raises:
        ValueError: If there are ids too, or cameras of one side alone.
    """
    if cameras is None and gallery_cameras is None:
        return ids, gallery_ids
    if ids is not None or gallery_ids is not None:
        raise ValueError(
            f"`ids` must be left out with `cameras`, which leave out the same item already. Received: "
            f"ids={describe(ids)}, gallery_ids={describe(gallery_ids)}."
        )
    if cameras is None or (gallery_cameras is None) != (gallery_labels is None):
        raise ValueError(
            "`gallery_cameras` must come with `cameras` and a gallery. Received: "
            f"cameras={describe(cameras)}, gallery_cameras={describe(gallery_cameras)}."
        )
    of_class = [("labels", labels, len(labels))]
    of_camera = [("cameras", cameras, len(labels))]
    if gallery_labels is not None:
        of_class.append(("gallery_labels", gallery_labels, len(gallery_labels)))
        of_camera.append(("gallery_cameras", gallery_cameras, len(gallery_labels)))
    of_class, of_camera = codes(*of_class), codes(*of_camera)
    number = 1 + max(int(side.max()) for side in of_camera)
    both = [identity * number + camera for identity, camera in zip(of_class, of_camera, strict=True)]
    return both[0], both[1] if gallery_labels is not None else None
