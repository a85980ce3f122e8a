-- A whole board in the order in which it is shown.
CREATE INDEX IF NOT EXISTS cards_on_board ON cards (tenant, project, lane, rank, card) WHERE NOT archived;
-- What changed on a board since a position.
CREATE INDEX IF NOT EXISTS cards_changed ON cards (tenant, project, position);
