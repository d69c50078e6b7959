-- Parts of the full-text indexes are merged sixteen at a time instead of four: what is published is written again half as often, and a
-- search looks into a few parts more. A level may have 64 before all of them are merged in one go, for which everybody would wait.

INSERT INTO name_trigram (name_trigram, rank) VALUES ('automerge', 16);
INSERT INTO name_trigram (name_trigram, rank) VALUES ('crisismerge', 64);
INSERT INTO name_word (name_word, rank) VALUES ('automerge', 16);
INSERT INTO name_word (name_word, rank) VALUES ('crisismerge', 64);
