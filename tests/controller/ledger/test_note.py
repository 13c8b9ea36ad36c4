"""Signed notes and checkpoints against published examples."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ledger.note import (
    Checkpoint,
    NoteForged,
    NoteMalformed,
    NoteUnsigned,
    Signer,
    Verifier,
    sign,
    verify,
)

# Source: golang.org/x/mod/sumdb/note, the format that C2SP signed-note v1.0 standardises.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_NOTE = (
    GO_TEXT
    + "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# Source: C2SP signed-note v1.0 (its text has an empty line) and tlog-checkpoint v1.0.
C2SP_NOTE = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihA"
    "QwaqP3ZekRwNtIc=\n"
)
C2SP_CHECKPOINT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
TEXTS = st.text(st.characters(min_codepoint=32, exclude_categories=("Cs",)), max_size=60)


def test_the_published_example_is_made_byte_for_byte_and_verifies():
    signer = Signer("PeterNeumann", GO_SEED)
    assert signer.verifier.text() == GO_KEY
    assert sign(GO_TEXT, [signer]) == GO_NOTE
    assert verify(GO_NOTE, [Verifier.parse(GO_KEY)]) == (GO_TEXT, ("PeterNeumann",))


def test_the_c2sp_example_parses_and_needs_its_own_key():
    with pytest.raises(NoteUnsigned):
        verify(C2SP_NOTE, [Verifier.parse(GO_KEY)])
    signed = sign(C2SP_NOTE.rpartition("\n\n")[0] + "\n", [Signer("quasimodo.example/salvatore", bytes(32))])
    text, names = verify(signed, [Signer("quasimodo.example/salvatore", bytes(32)).verifier])
    assert text.endswith("\n\ned è subito sera.\n")
    assert names == ("quasimodo.example/salvatore",)


def test_the_c2sp_checkpoint_parses_and_writes_back():
    checkpoint = Checkpoint.parse(C2SP_CHECKPOINT)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.text() == C2SP_CHECKPOINT
    assert Checkpoint.parse(C2SP_CHECKPOINT + "an extension line\n") == checkpoint


@given(st.lists(TEXTS, min_size=1, max_size=4), st.binary(min_size=32, max_size=32))
def test_round_trip(lines, seed):
    signer = Signer("test.example/log", seed)
    text = "\n".join(lines) + "\n"
    assert verify(sign(text, [signer]), [signer.verifier])[0] == text


@given(st.integers(0, 2**40), st.binary(min_size=32, max_size=32))
def test_checkpoint_round_trip(size, root):
    checkpoint = Checkpoint("a.example/log", size, root)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_a_changed_text_or_signature_is_a_forgery():
    key = Verifier.parse(GO_KEY)
    for forged in (GO_NOTE.replace("answer", "anmwer"), GO_NOTE.replace("JkuBS", "JkuBT")):
        with pytest.raises(NoteForged):
            verify(forged, [key])


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        GO_NOTE.rstrip("\n"),
        GO_NOTE.replace("— ", "- "),
        GO_NOTE.replace("x08g", "x0 8g"),
        GO_NOTE.replace("\n", "\r\n"),
        "a\tb\n\n— n x08go/ZJ\n",
        "a\n\n— n x08=\n",
        "x" * 70_000 + "\n\n— n x08go/ZJ\n",
    ],
)
def test_malformed_notes(note):
    with pytest.raises(NoteMalformed):
        verify(note, [Verifier.parse(GO_KEY)])


@pytest.mark.parametrize(
    "text",
    ["a\n1\n", "a\n01\nAAAA\n", "a\n1\nAAAA\n", "a\n1\n!\n", "\n1\n" + "A" * 43 + "=\n", "a\n٣\n" + "A" * 43 + "=\n"],
)
def test_malformed_checkpoints(text):
    with pytest.raises(NoteMalformed):
        Checkpoint.parse(text)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a b+c74f20a3+AQ==",
        GO_KEY.replace("c74f", "c74e"),
        GO_KEY.replace("ARpc", "AhpC"),
        "PeterNeumann+c74f20a3+ARpc",
    ],
)
def test_malformed_keys(key):
    with pytest.raises(NoteMalformed):
        Verifier.parse(key)
