"""What a replay buffer ought to do, in plain Python."""

from ssdkd_jax import replay_buffer


class PlainBuffer:
    """What the buffer ought to do: a list of slots, each None or a dict."""

    def __init__(self, capacity):
        self.slots = [None] * capacity

    def insert(self, images, classes, confidences, reward):
        largest = max((entry["priority"] for entry in self.slots if entry), default=replay_buffer.FIRST_PRIORITY)
        for entry in filter(None, self.slots):
            entry["age"] += 1

        # Empty slots first, then by reward; the oldest of equals, then the lowest slot.
        def rank(i):
            entry = self.slots[i]
            return (True, reward[i], -entry["age"], i) if entry else (False, 0, 0, i)

        order = sorted(range(len(self.slots)), key=rank)
        for i, image, predicted, confidence in zip(order, images, classes, confidences, strict=False):
            self.slots[i] = {
                "image": image, "predicted_class": predicted, "confidence": confidence, "priority": largest, "age": 0,
            }  # fmt: skip

    def update_priorities(self, indices, priorities):
        for i in set(indices.tolist()):
            self.slots[i]["priority"] = max(abs(priorities[indices == i]))
