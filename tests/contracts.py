"""What every sink promises, as tests that each of them inherits.

A subclass gives `make`, which returns a sink for one destination, `content`, which
looks at the destination past the sink, and `leftovers`, which counts what a write left.
"""

from __future__ import annotations

import pickle

import pytest

from lazycog.errors import DestinationExistsError, SinkError

PART = 5 * 2**20
FIRST, SECOND, LAST = b"a" * PART, b"b" * PART, b"end"
OLD = b"what was there before"


class SinkContract:
    """Begin, put, commit or abort: the destination changes at once or not at all."""

    def make(self, **options):
        """Give a sink for the destination of this test."""
        raise NotImplementedError

    def content(self):
        """Give the bytes at the destination, None without any."""
        raise NotImplementedError

    def fill(self, content):
        """Put bytes at the destination."""
        raise NotImplementedError

    def leftovers(self):
        """List what a write has left behind."""
        raise NotImplementedError

    @staticmethod
    def send(sink, order=(1, 2, 3)):
        """Send three parts in any order; give the upload and the receipts by number."""
        upload = sink.begin()
        data = {1: FIRST, 2: SECOND, 3: LAST}
        taken = [sink.put(upload, number, [data[number]]) for number in order]
        return upload, sorted(taken, key=lambda each: each.number)

    @pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)], ids=str)
    def test_parts_in_any_order_become_one_object(self, order):
        """Numbers alone say where bytes go."""
        sink = self.make()

        sink.commit(*self.send(sink, order))

        assert self.content() == FIRST + SECOND + LAST
        assert self.leftovers() == []

    def test_the_destination_is_as_it_was_until_the_commit(self):
        """Readers see the old object or the new one."""
        self.fill(OLD)
        sink = self.make()

        upload, receipts = self.send(sink)

        assert self.content() == OLD
        sink.commit(upload, receipts)
        assert self.content() == FIRST + SECOND + LAST

    def test_a_part_that_is_sent_again_replaces_itself(self):
        """As a retried task does."""
        sink = self.make()
        upload, receipts = self.send(sink)

        again = sink.put(upload, 2, [SECOND[:100], SECOND[100:]])

        assert again == receipts[1]
        sink.commit(upload, receipts)
        assert self.content() == FIRST + SECOND + LAST

    def test_a_part_that_is_not_the_one_sent_is_noticed(self):
        """A late task of another run overwrote it: nothing appears."""
        self.fill(OLD)
        sink = self.make()
        upload, receipts = self.send(sink)
        sink.put(upload, 2, [b"x" * PART])

        with pytest.raises(SinkError):
            sink.commit(upload, receipts)

        sink.abort(upload)
        assert self.content() == OLD
        assert self.leftovers() == []

    def test_an_abort_leaves_nothing_and_the_old_object(self):
        """Twice is as good as once."""
        self.fill(OLD)
        sink = self.make()
        upload, _ = self.send(sink)

        sink.abort(upload)
        sink.abort(upload)

        assert self.content() == OLD
        assert self.leftovers() == []

    def test_a_part_after_the_abort_leaves_nothing(self):
        """A task that still runs may send one."""
        sink = self.make()
        upload, _ = self.send(sink, (1,))
        sink.abort(upload)

        with pytest.raises(SinkError):
            sink.put(upload, 2, [SECOND])

        assert self.content() is None
        assert self.leftovers() == []

    def test_a_small_object_is_sent_at_once(self):
        """The upload that was begun for it is gone."""
        self.fill(OLD)
        sink = self.make()

        sink.put_whole(sink.begin(), [b"small ", b"object"])

        assert self.content() == b"small object"
        assert self.leftovers() == []

    def test_an_existing_object_is_refused_at_the_start(self):
        """Nothing is sent for nothing."""
        self.fill(OLD)

        with pytest.raises(DestinationExistsError, match="overwrite=False"):
            self.make(overwrite=False).check_absent()

    def test_an_object_that_appears_meanwhile_is_kept(self):
        """Looked at again at the commit."""
        sink = self.make(overwrite=False)
        upload, receipts = self.send(sink)
        self.fill(OLD)

        with pytest.raises(DestinationExistsError, match="overwrite=False"):
            sink.commit(upload, receipts)

        sink.abort(upload)
        assert self.content() == OLD
        assert self.leftovers() == []

    def test_a_small_object_does_not_replace_one_that_appears(self):
        """The same for an object that is sent at once."""
        sink = self.make(overwrite=False)
        upload = sink.begin()
        self.fill(OLD)

        with pytest.raises(DestinationExistsError, match="overwrite=False"):
            sink.put_whole(upload, [b"new"])

        sink.abort(upload)
        assert self.content() == OLD
        assert self.leftovers() == []

    def test_a_sink_pickles_and_keeps_its_secrets(self):
        """It travels in the graph; names and messages show no credentials."""
        sink = self.make()

        copy = pickle.loads(pickle.dumps(sink))

        assert copy == sink
        assert "testing" not in repr(sink)
        assert "secret" not in repr(sink)


class StoreContract(SinkContract):
    """What stores do beyond that: they are asked over a line that may break."""

    def content_type(self):
        """Give the media type of the object."""
        raise NotImplementedError

    def test_the_media_type_says_what_it_is(self):
        """For parts and for a small object."""
        wanted = "image/tiff; application=geotiff; profile=cloud-optimized"
        sink = self.make()

        sink.commit(*self.send(sink))

        assert self.content_type() == wanted
        sink.put_whole(sink.begin(), [b"small"])
        assert self.content_type() == wanted

    def test_a_commit_that_runs_again_is_settled_by_looking(self):
        """Its answer was lost, or its worker died after it."""
        sink = self.make()
        upload, receipts = self.send(sink)
        sink.commit(upload, receipts)

        sink.commit(upload, receipts)

        assert self.content() == FIRST + SECOND + LAST
        assert self.leftovers() == []

    def test_a_commit_that_runs_again_knows_its_own_object(self):
        """With overwrite=False, too, where the object now exists."""
        sink = self.make(overwrite=False)
        upload, receipts = self.send(sink)
        sink.commit(upload, receipts)

        sink.commit(upload, receipts)

        assert self.content() == FIRST + SECOND + LAST


class UploadContract(StoreContract):
    """What stores do that have an upload of their own, in a `bucket` under a `key`."""

    def content(self):
        return self.bucket.content(self.key)

    def fill(self, content):
        self.bucket.fill(self.key, content)

    def leftovers(self):
        return self.bucket.left(self.key)

    def content_type(self):
        return self.bucket.head(self.key)["ContentType"]

    def test_a_lazy_upload_is_begun_once(self):
        """The task may run again, on another worker."""
        sink = self.make(is_lazy=True)

        first, second = sink.begin(), sink.begin()

        assert first == second
        assert self.leftovers().count(self.key) == 1
        sink.abort()
        assert self.leftovers() == []

    def test_a_lazy_upload_leaves_nothing_beside_the_object(self):
        """The note with its name goes with the commit."""
        sink = self.make(is_lazy=True)

        sink.commit(*self.send(sink))

        assert self.content().endswith(b"end")
        assert self.leftovers() == []


class NamedByBytes:
    """What differs in the contract where the names of parts tell their bytes."""

    def test_a_part_that_is_not_the_one_sent_is_noticed(self):
        """A late task of another run changes nothing at all."""
        sink = self.make()
        upload, receipts = self.send(sink)
        sink.put(upload, 2, [b"x" * PART])

        sink.commit(upload, receipts)

        assert self.content() == FIRST + SECOND + LAST
