"""A session's state, note and labels, for the list of work"""

import sqlalchemy as sa
from alembic import op

revision = "0003_worklist"
down_revision = "0002_colleagues"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("state", sa.String(length=20), server_default="new", nullable=False))
        batch_op.add_column(sa.Column("note", sa.Text(), server_default="", nullable=False))
        batch_op.add_column(sa.Column("labels", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.drop_column("labels")
        batch_op.drop_column("note")
        batch_op.drop_column("state")
